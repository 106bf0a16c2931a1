"""What the project has to choose from in a recipe: models, datasets of fitting kind, tasks, boards."""

from dataclasses import dataclass, field

from chanote.accounts.models import Project
from chanote.boards.models import Board, Task
from chanote.datasets.models import DatasetVersion, Use
from chanote.models.models import Model
from chanote.rights.choosing import QuickLook
from chanote.tools.models import ToolsetRevision
from trainer.contract import TrainingStage, stage_kinds


@dataclass(frozen=True)
class Choice:
    value: str
    label: str
    refused: str = ""
    """Why it cannot be chosen; empty when it can."""


@dataclass
class Options:
    """Everything to choose from, read once for a page."""

    models: list[Choice] = field(default_factory=list)
    tasks: list[Choice] = field(default_factory=list)
    boards: list[Choice] = field(default_factory=list)
    toolsets: list[Choice] = field(default_factory=list)
    datasets: dict[str, list[DatasetVersion]] = field(default_factory=dict)
    """Versions by kind, by dataset and then the newest first."""
    look: QuickLook | None = None

    def of_dataset(self, stage_kind: str, field: str) -> list[Choice]:
        """Datasets and versions for a field of a stage, unfit rights named beside what they close."""
        choices = []
        found = stage_kinds().get(stage_kind, TrainingStage)
        stage = found if issubclass(found, TrainingStage) else TrainingStage
        needed = Use.EVALUATE if field == "held_out" else Use(stage.use)
        for kind in stage.further_row_kinds.get(field, stage.row_kinds) or tuple(self.datasets):
            newest: set[int] = set()
            for version in self.datasets.get(kind, []):
                refused = self.look.tell(version, needed) if self.look else ""
                state = self.look.tell_state(version) if self.look else ""
                stands = f", {state}" if state else ""
                if version.dataset_id not in newest:
                    newest.add(version.dataset_id)
                    label = f"{version.dataset.slug}, newest (now version {version.number}{stands})"
                    choices.append(Choice(version.dataset.slug, label, refused))
                label = f"{version.dataset.slug}, version {version.number}{stands}"
                choices.append(Choice(version.reference, label, refused))
        return choices


def read_options(project: Project) -> Options:
    """Ten queries, however large the recipe."""
    options = Options(look=QuickLook(project))
    options.models = [
        Choice(model.slug, f"{model.slug} ({model.title})" if model.title else model.slug)
        for model in Model.objects.filter(project=project).order_by("slug")
    ]
    newest: dict[str, Choice] = {}
    for task in Task.objects.filter(project=project, dataset_version__isnull=False).order_by("slug", "-number"):
        newest.setdefault(task.slug, Choice(task.slug, task.title or task.slug))
    options.tasks = list(newest.values())
    options.boards = [Choice(board.slug, board.title) for board in Board.objects.filter(project=project)]
    for revision in (
        ToolsetRevision.objects.filter(toolset__project=project)
        .select_related("toolset")
        .order_by("toolset__slug", "-number")
    ):
        slug = revision.toolset.slug
        if slug not in {choice.value for choice in options.toolsets}:
            options.toolsets.append(Choice(slug, f"{slug}, newest (now revision {revision.number})"))
        options.toolsets.append(Choice(revision.reference, f"{slug}, revision {revision.number}"))
    versions = DatasetVersion.objects.filter(dataset__project=project).select_related("dataset")
    for version in versions.order_by("dataset__slug", "-number"):
        options.datasets.setdefault(version.dataset.kind, []).append(version)
    return options


def count_datasets(options: Options) -> int:
    return len({version.dataset_id for versions in options.datasets.values() for version in versions})
