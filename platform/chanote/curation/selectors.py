"""Reads of where versions stand."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Q

from chanote.accounts.models import Project
from chanote.curation.models import Standing, State
from chanote.datasets.models import Dataset, DatasetVersion


def state_of(version: DatasetVersion) -> State:
    """Where the version stands now. One that nobody has asked to review is a draft."""
    return State(Standing.objects.filter(version=version).values_list("state", flat=True).first() or State.DRAFT)


def states_of(versions: Iterable[DatasetVersion]) -> dict[int, State]:
    """Primary key → state of each version, in one query."""
    keys = [version.pk for version in versions]
    known = dict(Standing.objects.filter(version__in=keys).values_list("version_id", "state"))
    return {key: State(known.get(key, State.DRAFT)) for key in keys}


def states_in(project: Project) -> dict[int, State]:
    """Primary key → state of every version of the project about which anything was said; the others are drafts."""
    known = Standing.objects.filter(version__dataset__project=project).values_list("version_id", "state")
    return {key: State(state) for key, state in known}


def standing_of(version: DatasetVersion) -> Standing:
    """The standing; one that is not stored where the version was never up for review."""
    people = ("made_by", "asked_by", "first_by", "second_by")
    found = Standing.objects.filter(version=version).select_related(*people).first()
    if found is not None:
        found.version = version
        return found
    return Standing(version=version, made_by=version.created_by)


def find_restricted_kin(version: DatasetVersion) -> DatasetVersion | None:
    """A restricted version that this one comes from, over however many steps: an earlier one of its dataset, one that
    rows were taken from, or one of the project that holds the very same rows."""
    restricted = DatasetVersion.objects.filter(standing__restricted=True).select_related("dataset__project")
    if not restricted.exists():
        return None
    seen: set[int] = {version.pk} if version.pk else set()
    step = [version]
    while step:
        before, same = Q(pk__in=[]), Q(pk__in=[])
        for one in step:
            before |= Q(dataset=one.dataset_id, number__lt=one.number)
            same |= Q(sha256=one.sha256, dataset__project=one.dataset.project_id)
        if hasattr(version, "drawn_from"):
            before |= Q(drawn_into__in=[one.pk for one in step if one.pk])
        kin = DatasetVersion.objects.filter(before | same).exclude(pk__in=seen).distinct().select_related("dataset")
        step = list(kin)
        if found := restricted.filter(pk__in=[one.pk for one in step]).order_by("-pk").first():
            return found
        seen |= {one.pk for one in step}
    return None


def is_bringer(version: DatasetVersion, person: Any) -> bool:
    """Whether the person brought in the transfer package that the version was made of, which somebody else released."""
    return bool(version.operation.get("name") == "package" and version.packages.filter(uploaded_by=person.pk).exists())


def waiting_for(user: Any, datasets: Iterable[Dataset]) -> int:
    """Versions in review that this person may sign."""
    waiting = Standing.objects.filter(version__dataset__in=list(datasets), state=State.IN_REVIEW)
    return sum(user.pk not in {one.made_by_id, one.asked_by_id, one.first_by_id} for one in waiting)
