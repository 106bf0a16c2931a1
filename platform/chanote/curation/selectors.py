"""Reads of where versions stand."""

from collections.abc import Iterable
from typing import Any

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


def standing_of(version: DatasetVersion) -> Standing:
    """The standing; one that is not stored where the version was never up for review."""
    people = ("made_by", "asked_by", "first_by", "second_by")
    found = Standing.objects.filter(version=version).select_related(*people).first()
    if found is not None:
        found.version = version
        return found
    return Standing(version=version, made_by=version.created_by)


def find_restricted_kin(version: DatasetVersion) -> DatasetVersion | None:
    """A restricted version that this one comes from: an earlier one of its dataset, or one its rows were taken from."""
    restricted = DatasetVersion.objects.filter(standing__restricted=True).select_related("dataset")
    earlier = restricted.filter(dataset=version.dataset_id, number__lt=version.number).order_by("-number").first()
    if earlier is not None or not hasattr(version, "drawn_from"):
        return earlier
    return restricted.filter(pk__in=version.drawn_from.values("pk")).first()


def waiting_for(user: Any, datasets: Iterable[Dataset]) -> int:
    """Versions in review that this person may sign."""
    waiting = Standing.objects.filter(version__dataset__in=list(datasets), state=State.IN_REVIEW)
    return sum(user.pk not in {one.made_by_id, one.asked_by_id, one.first_by_id} for one in waiting)
