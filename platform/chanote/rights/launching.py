"""What a recipe asks of rights: every dataset, task, corpus and model that it names, and its use of each."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from chanote.accounts.models import Project
from chanote.boards.models import Task
from chanote.boards.naming import find_task
from chanote.datasets.models import DatasetVersion, Use
from chanote.datasets.selectors import find_version
from chanote.models.models import Model
from chanote.rights.models import ExceptionRequest
from chanote.rights.rules import Judgement, judge_model, judge_version
from chanote.tools.freezing import FIELD, find_toolset
from chanote.tools.models import ToolsetRevision
from trainer.contract import Recipe
from trainer.contract.stages.base import TrainingStage
from trainer.contract.stages.evaluate import EvaluateStage


def judge_recipe(project: Project, recipe: Recipe) -> Judgement:
    """Everything that rights have against running the recipe, and the exceptions by which it may run. What the project
    does not have is left to whoever looks for it."""
    judgement = Judgement()
    for one in [*_judge_models(project, recipe), *_judge_stages(project, recipe), *_judge_toolset(project, recipe)]:
        judgement += one
    return judgement


def _judge_models(project: Project, recipe: Recipe) -> Iterator[Judgement]:
    trains = any(isinstance(stage, TrainingStage) for stage in recipe.stages)
    models = Model.objects.filter(project=project).select_related("parent", "project")
    if base := models.filter(slug=recipe.base).first() if recipe.base else None:
        yield judge_model(base, Use.TRAIN if trains else Use.EVALUATE, field="base")
    for number, stage in enumerate(recipe.stages):
        for field, slug in stage.named_models().items():
            if teacher := models.filter(slug=slug).first():
                yield judge_model(teacher, Use.DISTIL, field=f"stages[{number}].{field}")


def _judge_stages(project: Project, recipe: Recipe) -> Iterator[Judgement]:
    for number, stage in enumerate(recipe.stages):
        if isinstance(stage, TrainingStage):
            for named in stage.named_sources():
                with suppress(DatasetVersion.DoesNotExist):
                    version = find_version(project, named.source.dataset)
                    use = stage.use if named.trained else Use.EVALUATE
                    field = f"stages[{number}].{named.path}.dataset"
                    yield judge_version(version, use, field=field, measured=not named.trained)
        elif isinstance(stage, EvaluateStage):
            for place, name in enumerate(stage.tasks):
                with suppress(Task.DoesNotExist):
                    yield judge_version(
                        find_task(project, name).dataset_version, Use.EVALUATE, field=f"stages[{number}].tasks[{place}]"
                    )


def _judge_toolset(project: Project, recipe: Recipe) -> Iterator[Judgement]:
    """A policy in training learns from what its tools read; one that is only evaluated does not."""
    if not recipe.toolset:
        return
    with suppress(ToolsetRevision.DoesNotExist):
        revision = find_toolset(project, recipe.toolset)
        if revision.corpus is not None:
            lead = f"{revision.reference} reads {revision.corpus.reference}, and a policy would learn from it: "
            yield judge_version(revision.corpus, Use.TRAIN, field=FIELD, lead=lead)


def describe_exceptions(exceptions: tuple[ExceptionRequest, ...]) -> list[dict[str, Any]]:
    """As a run freezes them."""
    return [
        {
            "id": one.pk,
            "subject": str(one.subject),
            "use": one.use,
            "until": one.until.isoformat(),
            "requested_by": one.requested_by.username,
            "approved_by": one.decided_by.username if one.decided_by else "",
            "reason": one.reason,
        }
        for one in exceptions
    ]


def judge_snapshot(project: Project, snapshot: dict[str, Any]) -> Judgement:
    """The same of a frozen run that is to go on: its versions by name, as its recipe has them."""
    return judge_recipe(project, Recipe.model_validate(snapshot["recipe"]))
