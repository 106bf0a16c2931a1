"""From a recipe's names to a frozen spec: every dataset, task and model by its file and hash.

The snapshot is a `RunSpec` without attempt and resume_from, and beside it the code that was used.
"""

import contextlib
import importlib.util
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

from django.conf import settings

import chanote
from chanote.accounts.models import Project
from chanote.boards.models import Task
from chanote.boards.naming import find_task
from chanote.datasets.models import DatasetVersion
from chanote.datasets.selectors import find_version
from chanote.datasets.storage import version_path
from chanote.models.models import Model, Origin
from chanote.models.vocabulary import compare_vocabularies
from chanote.rights.launching import judge_recipe
from chanote.runs.memory import find_misfits
from chanote.tools.freezing import check_toolset
from chanote.web.problems import Problem
from trainer.contract import DatasetFile, ModelFile, Recipe, RunSpec, TaskSpec
from trainer.contract.overlap import find_overlap
from trainer.contract.stages.base import NamedSource, TrainingStage
from trainer.contract.stages.cpt import CptStage
from trainer.contract.stages.evaluate import EvaluateStage
from trainer.contract.toolsets import ToolsetSpec


class LaunchRefused(ValueError):
    """A run cannot start as asked; `problems` names every obstacle with its field."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__(" ".join(str(problem) for problem in problems))


def find_obstacles(project: Project, recipe: Recipe) -> list[Problem]:
    """Everything that would keep this recipe from running now, with the field of each. Empty: it may be launched."""
    return [
        *_check_model(project, "base", recipe.base),
        *_check_named_models(project, recipe),
        *_check_stages(project, recipe),
        *_check_lengths(project, recipe),
        *check_toolset(project, recipe.toolset),
        *judge_recipe(project, recipe).refusals,
        *_check_machine(),
        *find_misfits(project, recipe),
    ]


def freeze_recipe(project: Project, recipe: Recipe, toolset: ToolsetSpec | None = None) -> dict[str, Any]:
    """The snapshot of a recipe in which `find_obstacles` found nothing; names without a version get the newest.

    `run` is empty until the run exists; `toolset` is what `freeze_toolset` made of the recipe's. Raises
    DatasetVersion.DoesNotExist, Task.DoesNotExist, Model.DoesNotExist.
    """
    tasks = {name: find_task(project, name) for name in _task_names(recipe)}
    recipe = _name_versions(project, recipe)
    if toolset is not None:
        recipe = recipe.model_copy(update={"toolset": toolset.name})
    versions = [find_version(project, named.source.dataset) for named in _sources(recipe)]
    versions += [task.dataset_version for task in tasks.values()]
    spec = RunSpec(
        run="",
        recipe=recipe,
        base=_freeze_model(project, recipe.base) if recipe.base else None,
        models={
            slug: _freeze_model(project, slug) for stage in recipe.stages for slug in stage.named_models().values()
        },
        datasets={version.reference: freeze_version(version) for version in versions},
        toolset=toolset,
        tasks={
            name: TaskSpec.model_validate({**task.definition, "dataset": task.dataset_version.reference})
            for name, task in tasks.items()
        },
    )
    return {**spec.model_dump(mode="json", exclude={"attempt", "resume_from"}), "code": describe_code()}


def freeze_again(project: Project, snapshot: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The snapshot of an earlier run with every file where it lies today, and what is no longer what it was.

    Tasks stay as they were frozen, whatever became of them since. The code is today's.
    """
    problems: list[Problem] = []
    frozen = RunSpec.model_validate({key: value for key, value in snapshot.items() if key in RunSpec.model_fields})
    datasets = {}
    for reference, file in frozen.datasets.items():
        try:
            datasets[reference] = freeze_version(find_version(project, reference))
        except DatasetVersion.DoesNotExist:
            problems.append(Problem(f"datasets.{reference}", "is no longer there; restore it from a backup."))
            continue
        problems += _compare_hash(f"datasets.{reference}", file.sha256, datasets[reference].sha256)
        if not Path(datasets[reference].path).is_file():
            problems.append(Problem(f"datasets.{reference}", "its rows are gone; restore them from a backup."))
    models = {frozen.recipe.base: frozen.base} if frozen.base else {}
    models |= frozen.models
    again = {}
    for slug, model in models.items():
        path = "base" if slug == frozen.recipe.base else f"models.{slug}"
        # One that is gone is named by `find_obstacles`.
        with contextlib.suppress(Model.DoesNotExist):
            again[slug] = _freeze_model(project, slug)
            problems += _compare_hash(path, model.sha256, again[slug].sha256)
    now = frozen.model_copy(
        update={
            "base": again.get(frozen.recipe.base) if frozen.base else None,
            "models": {slug: again[slug] for slug in frozen.models if slug in again},
            "datasets": datasets,
        }
    )
    return {**now.model_dump(mode="json", exclude={"attempt", "resume_from"}), "code": describe_code()}, problems


def _compare_hash(path: str, then: str, now: str) -> Iterator[Problem]:
    if then != now:
        yield Problem(
            path,
            f"held {then[:12]} then and holds {now[:12]} now: another result is to be expected, so launch the recipe "
            "as a new run instead.",
        )


def freeze_version(version: DatasetVersion) -> DatasetFile:
    return DatasetFile(
        kind=version.dataset.kind, path=str(version_path(version)), sha256=version.sha256, rows=version.rows
    )


@cache
def describe_code() -> dict[str, Any]:
    """Version of the platform, and the commit when it runs from a checkout."""
    root = Path(chanote.__file__).resolve().parents[2]
    described: dict[str, Any] = {"chanote": chanote.__version__}
    if (root / ".git").exists():
        described["commit"] = _git(root, "rev-parse", "HEAD")
        described["changed"] = bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    return described


def _check_model(project: Project, path: str, slug: str) -> Iterator[Problem]:
    if not slug:
        return
    model = Model.objects.filter(project=project, slug=slug).first()
    if model is None:
        known = _list_some(Model.objects.filter(project=project).values_list("slug", flat=True))
        yield Problem(path, f"{slug} is no model of this project; {known or 'register a model first'}.")
    elif model.origin == Origin.HUB and not Path(model.location).is_dir():
        yield Problem(path, f"{slug} is known by its hub name only; register its files from a directory.")
    elif not Path(model.location).is_dir():
        yield Problem(path, f"the files of {slug} are gone from {model.location}; put them back or register it again.")


def _check_named_models(project: Project, recipe: Recipe) -> Iterator[Problem]:
    """Models beside the policy are there, have its tokens and room for its sequences: they read what it writes."""
    base = Model.objects.filter(project=project, slug=recipe.base).first() if recipe.base else None
    for number, stage in enumerate(recipe.stages):
        for field, slug in stage.named_models().items():
            path = f"stages[{number}].{field}"
            found = list(_check_model(project, path, slug))
            yield from found
            if found:
                continue
            model = Model.objects.get(project=project, slug=slug)
            length = getattr(stage, "sequence_length", 0)
            if model.context_length and length > model.context_length:
                yield Problem(
                    path,
                    f"{slug} reads {model.context_length} tokens and sequence_length is {length}; lower it or choose "
                    "another model.",
                )
            difference = base and compare_vocabularies(Path(base.location), Path(model.location))
            if base and difference:
                yield Problem(
                    path,
                    f"{slug} has another tokenizer than {base.slug} ({difference}); choose a model of the same family.",
                )


def _check_stages(project: Project, recipe: Recipe) -> Iterator[Problem]:
    for number, stage in enumerate(recipe.stages):
        if isinstance(stage, TrainingStage):
            for named in stage.named_sources():
                yield from _check_dataset(project, f"stages[{number}].{named.path}.dataset", named, stage=stage)
            yield from _check_apart(project, number, stage)
            yield from _check_tasks_unread(project, recipe, number, stage)
        elif isinstance(stage, EvaluateStage):
            for place, name in enumerate(stage.tasks):
                yield from _check_task(project, f"stages[{number}].tasks[{place}]", name, toolset=recipe.toolset)


def _check_dataset(project: Project, path: str, named: NamedSource, *, stage: TrainingStage) -> Iterator[Problem]:
    try:
        version = find_version(project, named.source.dataset)
    except DatasetVersion.DoesNotExist as error:
        yield Problem(path, f"{str(error).rstrip('.')}; choose one of the project's datasets.")
        return
    if version.dataset.kind not in named.kinds:
        yield Problem(
            path,
            f"{version.reference} holds {version.dataset.kind} rows, and {getattr(stage, 'kind', '')} takes "
            f"{' or '.join(named.kinds)} rows here; choose another dataset.",
        )
    yield from _check_file(path, version)


def _check_apart(project: Project, number: int, stage: TrainingStage) -> Iterator[Problem]:
    """`laws` and `laws@3` may be the same rows under two names."""
    trained = {}
    named_sources = list(stage.named_sources())
    for named in named_sources:
        if named.trained:
            with contextlib.suppress(DatasetVersion.DoesNotExist):
                trained[find_version(project, named.source.dataset).sha256] = named.source.dataset
    for named in named_sources:
        if named.trained:
            continue
        with contextlib.suppress(DatasetVersion.DoesNotExist):
            same = trained.get(find_version(project, named.source.dataset).sha256)
            if same is not None:
                yield Problem(
                    f"stages[{number}].{named.path}.dataset",
                    f"{named.source.dataset} holds the very rows of {same}, which the stage trains on; choose another.",
                )


def _check_tasks_unread(project: Project, recipe: Recipe, number: int, stage: TrainingStage) -> Iterator[Problem]:
    """Text that a stage learns does not hold what the recipe's tasks or its own held-out rows ask."""
    asking: list[tuple[str, Callable[[], DatasetVersion]]] = [
        (f"task {name}", partial(_find_version_of_task, project, name)) for name in _task_names(recipe)
    ]
    asking += [
        (f"held_out[{place}]", partial(find_version, project, source.dataset))
        for place, source in enumerate(stage.held_out)
    ]
    for named in stage.named_sources():
        if named.field not in stage.apart_from_tasks:
            continue
        for who, find_asked in asking:
            # What is missing is named where it is missing.
            with contextlib.suppress(DatasetVersion.DoesNotExist, Task.DoesNotExist, OSError):
                corpus, asked = find_version(project, named.source.dataset), find_asked()
                found = _find_overlap(version_path(corpus), version_path(asked))
                if found is not None:
                    yield Problem(
                        f"stages[{number}].{named.path}.dataset",
                        f"row {found[0] + 1} of {corpus.reference} holds what row {found[1] + 1} of {asked.reference} "
                        f"asks, so {who} would measure what was read out before; remove those rows or choose another "
                        "corpus.",
                    )


def _find_version_of_task(project: Project, name: str) -> DatasetVersion:
    return find_task(project, name).dataset_version


@lru_cache(maxsize=256)
def _find_overlap(corpus: Path, asked: Path) -> tuple[int, int] | None:
    """Versions never change, so neither does what they share."""
    with corpus.open(encoding="utf-8") as texts, asked.open(encoding="utf-8") as items:
        return find_overlap(map(json.loads, texts), map(json.loads, items))


def _check_task(project: Project, path: str, name: str, *, toolset: str) -> Iterator[Problem]:
    try:
        task = find_task(project, name)
    except Task.DoesNotExist:
        known = _list_some(
            Task.objects.filter(project=project, dataset_version__isnull=False).values_list("slug", flat=True)
        )
        yield Problem(path, f"{name} is no task of this project; {known or 'add a task first'}.")
        return
    if task.definition["output_type"] == "agent" and not toolset:
        yield Problem(path, f"{name} is answered with tools; name a toolset of the project in toolset.")
    yield from _check_file(path, task.dataset_version)


def _check_file(path: str, version: DatasetVersion) -> Iterator[Problem]:
    if not version_path(version).is_file():
        yield Problem(path, f"the rows of {version.reference} are gone from the store; restore them from a backup.")


def _check_lengths(project: Project, recipe: Recipe) -> Iterator[Problem]:
    """Sequences must fit the context of the policy, which stages do not change."""
    first = recipe.stages[0]
    if isinstance(first, CptStage) and first.initialise is not None:
        context, owner = first.initialise.context_length, "stages[0].initialise"
    else:
        model = Model.objects.filter(project=project, slug=recipe.base).first()
        if model is None or not model.context_length:
            return
        context, owner = model.context_length, model.slug
    for number, stage in enumerate(recipe.stages):
        if isinstance(stage, TrainingStage) and stage.sequence_length > context:
            yield Problem(
                f"stages[{number}].sequence_length",
                f"{stage.sequence_length} tokens do not fit the context of {owner}; use at most {context}.",
            )


def _check_machine() -> Iterator[Problem]:
    # find_spec looks for the package without importing it: torch has no place in the platform's processes.
    if not settings.TRAINER_COMMAND and importlib.util.find_spec("torch") is None:
        yield Problem("", "the trainer is not installed here; install it with: pip install 'chanote[trainer]'.")
    place = settings.RUNS_DIRECTORY
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < settings.MINIMUM_FREE_BYTES:
        yield Problem(
            "",
            f"only {free // 2**20} MiB are free below {settings.RUNS_DIRECTORY}, and a run needs at least "
            f"{settings.MINIMUM_FREE_BYTES // 2**20} MiB; free some space.",
        )


def _sources(recipe: Recipe) -> Iterator[NamedSource]:
    """Every dataset that a training stage names."""
    for stage in recipe.stages:
        if isinstance(stage, TrainingStage):
            yield from stage.named_sources()


def _task_names(recipe: Recipe) -> list[str]:
    stages = [stage for stage in recipe.stages if isinstance(stage, EvaluateStage)]
    return list(dict.fromkeys(name for stage in stages for name in stage.tasks))


def _name_versions(project: Project, recipe: Recipe) -> Recipe:
    """The recipe with `slug` written as `slug@number`, so that what is shown is what was used."""
    content = recipe.model_dump(mode="json")
    for stage, written in zip(recipe.stages, content["stages"], strict=True):
        if isinstance(stage, TrainingStage):
            for named in stage.named_sources():
                source = written[named.field][named.place]
                source["dataset"] = find_version(project, source["dataset"]).reference
    return Recipe.model_validate(content)


def _freeze_model(project: Project, slug: str) -> ModelFile:
    model = Model.objects.get(project=project, slug=slug)
    return ModelFile(path=str(Path(model.location).resolve()), sha256=model.sha256)


def _list_some(names: Any, *, most: int = 5) -> str:
    """Names to choose from, as the second half of a sentence."""
    known = sorted(set(names))
    if not known:
        return ""
    return f"choose one of {', '.join(known[:most])}{' …' if len(known) > most else ''}"


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
