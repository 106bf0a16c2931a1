"""From data to board: what a model is made of and where it was scored, as a list in that order."""

from dataclasses import dataclass, field
from typing import Any

from django.urls import reverse

from chanote.boards.models import Evaluation
from chanote.datasets.models import DatasetVersion
from chanote.models.models import Model
from chanote.models.teachers import list_teachers
from chanote.runs.models import Checkpoint

DEEPEST = 20
"""Models that a line of descent is followed through."""


@dataclass(frozen=True)
class Link:
    text: str
    url: str = ""
    note: str = ""


@dataclass
class Step:
    """One station: its icon, what it is in a word, and the things it consists of."""

    icon: str
    word: str
    links: list[Link] = field(default_factory=list)
    is_self: bool = False


def trace_lineage(model: Model) -> list[Step]:
    """Stations from the first ancestor to the model, then the boards that show it."""
    line = [model]
    while line[0].parent is not None and len(line) < DEEPEST and line[0].parent not in line:
        line.insert(0, line[0].parent)
    steps: list[Step] = []
    for ancestor in line:
        checkpoint = Checkpoint.objects.filter(model=ancestor).select_related("run__revision__recipe").first()
        if checkpoint is not None:
            steps += _trace_training(ancestor, checkpoint)
        word = "This model" if ancestor == model else "Model"
        steps.append(Step("models", word, [_link_model(ancestor)], is_self=ancestor == model))
    scores = _list_scores(model)
    return [*steps, Step("boards", "Scored", scores)] if scores else steps


def _link_model(model: Model) -> Link:
    return Link(model.slug, model.get_absolute_url(), f"{model.get_origin_display()}, {model.sha256[:8]}")


def _trace_training(model: Model, checkpoint: Checkpoint) -> list[Step]:
    """Data, run and checkpoint that a model came from."""
    run, project = checkpoint.run, model.project
    revision = run.revision
    recipe = Link(
        f"{revision.recipe.slug} revision {revision.number}",
        reverse("recipe", args=[project.slug, revision.recipe.slug]),
    )
    stage = Link(f"step {checkpoint.step:,}", note=checkpoint.sha256[:8])
    # What comes after the stage that saved the checkpoint is no part of it.
    stages = run.snapshot.get("recipe", {}).get("stages", [])[: checkpoint.stage + 1]
    teachers = _link_teachers(run, list_teachers(run, last_stage=checkpoint.stage))
    return [
        Step("datasets", "Data", _list_data(run, stages)),
        *([Step("models", "Taught by", teachers)] if teachers else []),
        Step("recipes", "Recipe", [recipe]),
        Step("runs", "Run", [Link(f"#{run.number} {run.name}", reverse("run", args=[project.slug, run.number]))]),
        Step("download", "Checkpoint", [stage]),
    ]


def _link_teachers(run: Any, slugs: list[str]) -> list[Link]:
    """Each with the licence it is under and the hash that the run froze."""
    known = {model.slug: model for model in Model.objects.filter(project=run.project, slug__in=slugs)}
    links = []
    for slug in slugs:
        frozen = run.snapshot.get("models", {}).get(slug, {}).get("sha256", "")
        facts = [known[slug].licence if slug in known else "", frozen[:8]]
        url = known[slug].get_absolute_url() if slug in known else ""
        links.append(Link(slug, url, ", ".join(fact for fact in facts if fact)))
    return links


def _list_data(run: Any, stages: list[Any]) -> list[Link]:
    """Dataset versions that the stages train on; by hash, since the frozen spec names files, not rows."""
    trained = {
        source.get("dataset")
        for stage in stages
        for field, sources in stage.items()
        if field != "held_out" and isinstance(sources, list)
        for source in sources
        if isinstance(source, dict)
    }
    files = run.snapshot.get("datasets", {})
    hashes = {file["sha256"]: name for name, file in files.items() if name in trained}
    known = {
        version.sha256: version
        for version in DatasetVersion.objects.filter(
            dataset__project=run.project, sha256__in=list(hashes)
        ).select_related("dataset__project")
    }
    links = []
    for sha256, name in hashes.items():
        version = known.get(sha256)
        url = f"{version.dataset.get_absolute_url()}?version={version.number}" if version else ""
        rows = f"{files[name]['rows']:,} rows, {sha256[:8]}"
        links.append(Link(name, url, rows))
    return links


def _list_scores(model: Model) -> list[Link]:
    evaluations = Evaluation.objects.filter(model=model).select_related("task").prefetch_related("boards")
    links = []
    for evaluation in evaluations.order_by("task__slug", "-created")[:50]:
        # Scores without their interval belong on a board, which has it.
        boards = list(evaluation.boards.all())
        url = reverse("boards:board", args=[model.project.slug, boards[0].slug]) if boards else ""
        where = f"on board {boards[0].slug}" if boards else "on no board"
        links.append(Link(evaluation.task.reference, url, f"{evaluation.count:,} items, {where}"))
    return links
