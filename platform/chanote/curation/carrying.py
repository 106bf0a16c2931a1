"""Carrying a draft of changes over to a version that was made meanwhile: rows are found again by their content."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.curation.changes import check_operation, find_change_set, operations_of
from chanote.curation.models import ChangeSet
from chanote.curation.operations import Operation, count_rows, ranges_of, to_ranges
from chanote.curation.services import CHANGE, CurationRefused, refuse
from chanote.datasets.models import Dataset, DatasetVersion
from chanote.datasets.row_diff import number_copies, read_hashes

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True)
class Carried:
    change_set: ChangeSet
    kept: int
    left: int
    """Changes whose rows are not in the newer version any more, or not as they were."""
    lost_rows: int
    """Rows that bulk changes named and that are not there any more."""


def carry_over(change_set: ChangeSet, target: DatasetVersion, *, actor: Any) -> Carried:
    """Move the draft to `target`. What finds none of its rows there stays out, counted. Raises CurationRefused."""
    require(actor, CHANGE, target.project)
    if change_set.author_id != actor.pk or change_set.status != ChangeSet.Status.OPEN:
        raise refuse("", "Only an open draft of your own is carried over.")
    if change_set.version.dataset_id != target.dataset_id or change_set.version_id == target.pk:
        raise refuse("", f"{target.reference} is no other version of this dataset.")
    places = map_rows(change_set.version, target)
    with transaction.atomic():
        Dataset.objects.select_for_update().get(pk=target.dataset_id)
        if find_change_set(target, actor) is not None:
            raise refuse("", f"You have a draft of changes to {target.reference} already; finish that one first.")
        fresh = ChangeSet.objects.create(version=target, author=actor, author_name=actor.username)
        carried: list[Operation] = []
        left = lost = 0
        for operation in operations_of(change_set):
            moved = move_operation(operation, places)
            try:
                checked = check_operation(target, moved, carried) if moved else None
            except CurationRefused:
                checked = None
            if checked is None:
                left += 1
                continue
            lost += count_rows(ranges_of(operation)) - count_rows(ranges_of(checked))
            carried.append(checked)
            fresh.changes.create(number=len(carried), operation=checked, touched=count_rows(ranges_of(checked)))
        change_set.status, change_set.closed = ChangeSet.Status.DROPPED, timezone.now()
        change_set.save(update_fields=["status", "closed"])
        record("rows.changes_carried", target, actor=actor, kept=len(carried), left=left, lost_rows=lost)
    return Carried(fresh, len(carried), left, lost)


def map_rows(old: DatasetVersion, new: DatasetVersion) -> "numpy.ndarray[Any, Any]":
    """For each row of the old version, at its number, the number of the equal row of the new one; 0 for none."""
    import numpy

    before, after = number_copies(read_hashes(old)), number_copies(read_hashes(new))
    order = numpy.argsort(after)
    place = numpy.minimum(after[order].searchsorted(before), len(after) - 1)
    found = order[place]
    numbers = numpy.where(after[found] == before, found + 1, 0)
    return numpy.concatenate([[0], numbers])


def move_operation(operation: Operation, places: "numpy.ndarray[Any, Any]") -> Operation | None:
    """The operation on the same rows under their new numbers; None where none, or one that it needs, is there."""
    if "row" in operation:
        row = int(places[operation["row"]])
        return {**operation, "row": row} if row else None
    if "merged" in operation:
        merged = [int(places[row]) for row in operation["merged"]]
        return {**operation, "merged": merged} if all(merged) else None
    numbers = [
        int(number) for first, last in operation["rows"] for number in places[first : last + 1] if number
    ]  # fmt: skip
    return {**operation, "rows": to_ranges(numbers)} if numbers else None
