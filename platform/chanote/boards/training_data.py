"""What the models of a board learned from, of all of them at once: the number of queries grows with how long a line of
descent is, not with how many models a board shows. Of one model `rights.terms.trace_terms` says the same."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db.models import Q

from chanote.datasets.models import DatasetVersion
from chanote.models.models import Model
from chanote.models.teachers import list_teachers
from chanote.rights.terms import Training, match_versions, name_trained_versions
from chanote.runs.models import Checkpoint, Run


@dataclass
class Learned:
    """What one model and all that it comes from (ancestors, teachers, copies) were trained on in this project."""

    versions: dict[int, DatasetVersion] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    """Names of data that a run read and of which no version is here any more."""
    outside: set[str] = field(default_factory=set)
    """Models among them that no run of the project made: nothing is known of their data."""


@dataclass
class _Known:
    """What one model comes from directly."""

    models: set[int] = field(default_factory=set)
    data: dict[str, str] = field(default_factory=dict)
    """Hash of the rows by name."""
    trained: bool = False


def trace_data(models: Iterable[Model]) -> dict[int, Learned]:
    """By model."""
    asked = list(models)
    if not asked:
        return {}
    project = asked[0].project_id
    all_models = {one.pk: one for one in Model.objects.filter(project=project).only("slug", "sha256", "parent")}
    by_hash: dict[str, set[int]] = {}
    for one in all_models.values():
        by_hash.setdefault(one.sha256, set()).add(one.pk)
    known: dict[int, _Known] = {}
    frontier = {one.pk for one in asked}
    while frontier:
        trainings = _list_trainings(project, [all_models[pk] for pk in frontier])
        for pk in frontier:
            known[pk] = _describe(all_models[pk], trainings.get(pk, []), all_models, by_hash)
        frontier = {pk for one in known.values() for pk in one.models} - known.keys()
    hashes = {sha256 for one in known.values() for sha256 in one.data.values() if sha256}
    versions = DatasetVersion.objects.filter(dataset__project=project, sha256__in=hashes)
    found = list(versions.select_related("dataset__project")) if hashes else []
    return {one.pk: _gather(one.pk, known, all_models, found) for one in asked}


def _list_trainings(project: int, models: Sequence[Model]) -> dict[int, list[Training]]:
    """Runs that saved exactly these weights, each up to the stage that did."""
    rows = Checkpoint.objects.filter(
        Q(model__in=[one.pk for one in models]) | Q(sha256__in=[one.sha256 for one in models]),
        run__project=project,
    )
    saved = list(rows.order_by("stage").values_list("model_id", "sha256", "run_id", "stage"))
    runs = Run.objects.in_bulk({run for _, _, run, _ in saved})
    found: dict[int, dict[object, Training]] = {}
    for model in models:
        for owner, sha256, run, stage in saved:
            if owner == model.pk or sha256 == model.sha256:
                found.setdefault(model.pk, {}).setdefault(run, Training(runs[run], stage))
    return {pk: list(one.values()) for pk, one in found.items()}


def _describe(
    model: Model, trainings: Sequence[Training], models: dict[int, Model], by_hash: dict[str, set[int]]
) -> _Known:
    one = _Known(models=by_hash[model.sha256] - {model.pk}, trained=bool(trainings))
    if model.parent_id in models:
        one.models.add(model.parent_id)
    for training in trainings:
        if training.run.base_id in models:
            one.models.add(training.run.base_id)
        one.data |= name_trained_versions(training)
        frozen = training.run.snapshot.get("models", {})
        for slug in list_teachers(training.run, last_stage=training.last_stage):
            same = by_hash.get(frozen.get(slug, {}).get("sha256", ""), set())
            one.models |= same or {pk for pk, other in models.items() if other.slug == slug}
    return one


def _gather(model: int, known: dict[int, _Known], models: dict[int, Model], found: list[DatasetVersion]) -> Learned:
    learned, seen, waiting = Learned(), set(), [model]
    while waiting:
        pk = waiting.pop()
        if pk in seen:
            continue
        seen.add(pk)
        one = known[pk]
        waiting += one.models
        for name, version in match_versions(one.data, found):
            if version is None:
                learned.lost.add(name)
            else:
                learned.versions[version.pk] = version
    for pk in seen:
        # A copy of weights that a run saved is not from outside.
        if not any(known[same].trained for same in seen if models[same].sha256 == models[pk].sha256):
            learned.outside.add(models[pk].slug)
    return learned
