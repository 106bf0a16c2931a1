"""The queue: rows of a version one after the other, each with what is known and decided about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import numpy
from django.db import transaction

from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.checks.masking import Mask, find_mask, mask_page
from chanote.checks.selectors import newest_results, rows_found
from chanote.curation.changes import find_change_set
from chanote.curation.models import Change, Glance
from chanote.curation.operations import ranges_of
from chanote.curation.services import CHANGE, refuse
from chanote.datasets.features import (
    AT_ONCE,
    FoundRows,
    NoFeatures,
    RowWish,
    find_features,
    find_rows,
    prepare_features,
)
from chanote.datasets.models import DatasetVersion
from chanote.datasets.selectors import ROWS_PER_PAGE, RowPage, holds, read_found, read_page, search_rows
from chanote.datasets.storage import open_rows
from chanote.web.numbers import read_number

LONGEST_QUERY = 200
MOST_READ = 1_000
"""Hits of a search that are read again as they are shown, where anything is masked."""


@dataclass(frozen=True)
class QueueWish:
    """Which rows the queue goes through."""

    rows: RowWish = field(default_factory=RowWish)
    undecided: bool = False
    check: str = ""
    """Only rows in which this check has found something."""

    @property
    def is_filtered(self) -> bool:
        return bool(self.rows) or bool(self.check)

    def __bool__(self) -> bool:
        return self.is_filtered or self.undecided


def read_row_wish(query: Mapping[str, str]) -> RowWish:
    """What the address asks for; what it cannot mean is passed over."""
    return RowWish(
        text=" ".join(query.get("q", "").split())[:LONGEST_QUERY],
        language=query.get("language", "")[:20],
        flag=query.get("flag", "")[:60],
        label=query.get("label", "")[:121],
        shortest=read_number(query.get("shortest", "")),
        longest=read_number(query.get("longest", "")),
    )


def spell_row_wish(wish: RowWish) -> str:
    """The filter as part of an address."""
    names = {"text": "q"}
    return urlencode({names.get(name, name): value for name, value in vars(wish).items() if value not in ("", None)})


def find_visible(version: DatasetVersion, wish: RowWish, mask: Mask) -> FoundRows:
    """Rows that answer the wish by what a person may see of them. Raises NoFeatures.

    A search that found words in what is masked would tell a number digit by digit. Words that very many rows hold
    are no secret of any of them, so these are not read one by one.
    """
    found = find_rows(version, wish)
    if not (wish.text and mask) or len(found.numbers) > MOST_READ:
        return found
    wanted = wish.text.casefold()
    seen = [
        number for number in found.numbers if holds(mask.apply(next(open_rows(version, number - 1, number))), wanted)
    ]
    return FoundRows(numpy.array(seen, dtype=numpy.int64), found.looked)


def read_wished(
    version: DatasetVersion, wish: RowWish, mask: Mask, *, start: int = 0, size: int = ROWS_PER_PAGE
) -> RowPage:
    """A page of the rows that answer, from the `start`th on (from 0), masked: what the page and REST show.

    Raises NoFeatures where more than text is asked of a large version whose table is not there, StoreError.
    """
    if not wish:
        page = read_page(version, start=start, size=size)
    elif ensure_features(version):
        page = read_found(version, find_visible(version, wish, mask), wish.text, start=start, size=size)
    elif wish == RowWish(text=wish.text):
        page = search_rows(version, wish.text, start=start, size=size)
    else:
        raise NoFeatures(version.reference)
    mask_page(page, mask)
    return page


def find_flagged(version: DatasetVersion, check: str, codes: tuple[str, ...] = ()) -> numpy.ndarray[Any, Any]:
    """Numbers of the rows in which the newest result of a check names something; none where it never ran."""
    result = newest_results(version).get(check)
    rows = rows_found(result, codes, limit=version.rows)[0] if result and result.findings_sha256 else []
    return numpy.array(rows, dtype=numpy.int64)


def ensure_features(version: DatasetVersion) -> bool:
    """Whether the table of the version is there; a small version's is made now."""
    if version.rows <= AT_ONCE:
        prepare_features(version)
        return True
    try:
        find_features(version)
    except NoFeatures:
        return False
    return True


@dataclass
class Decisions:
    """What one person has decided about the rows of a version."""

    accepted: set[int]
    changes: list[Change]

    def changes_of(self, row: int) -> list[Change]:
        return [
            one for one in self.changes if any(first <= row <= last for first, last in ranges_of(one.operation))
        ]  # fmt: skip

    def has(self, row: int) -> bool:
        return row in self.accepted or bool(self.changes_of(row))

    @property
    def touched(self) -> int:
        """Rows with a decision: counted exactly while they are few, by their ranges."""
        changed = {
            row for one in self.changes if one.touched <= 1000 for first, last in ranges_of(one.operation)
            for row in range(first, last + 1)
        }  # fmt: skip
        return len(changed | self.accepted) + sum(one.touched for one in self.changes if one.touched > 1000)


def read_decisions(version: DatasetVersion, person: Any) -> Decisions:
    change_set = find_change_set(version, person)
    accepted = set(Glance.objects.filter(version=version, person=person).values_list("row", flat=True))
    return Decisions(accepted, list(change_set.changes.all()) if change_set else [])


@dataclass(frozen=True)
class Place:
    """Where a row lies in the queue."""

    row: int
    before: int | None
    after: int | None
    total: int
    """Rows that the wish finds; all of them without one."""


def find_place(version: DatasetVersion, wish: QueueWish, decisions: Decisions, row: int | None) -> Place | None:
    """The row asked for, or the first that fits, with its neighbours; None where no row fits."""
    numbers = find_visible(version, wish.rows, find_mask(version)).numbers if wish.rows else None
    if wish.check:
        flagged = find_flagged(version, wish.check)
        numbers = flagged if numbers is None else numbers[numpy.isin(numbers, flagged)]
    total = version.rows if numbers is None else len(numbers)
    if not total:
        return None
    row = min(max(row, 1), version.rows) if row else None
    at = row or _step(version, numbers, wish, decisions, 0, 1)
    if at is None:
        return None
    before, after = (_step(version, numbers, wish, decisions, at, way) for way in (-1, 1))
    return Place(at, before, after, total)


def _step(
    version: DatasetVersion,
    numbers: numpy.ndarray[Any, Any] | None,
    wish: QueueWish,
    decisions: Decisions,
    row: int,
    way: int,
) -> int | None:
    """The next row of the queue from `row` on, forwards or backwards."""
    place = 0
    if numbers is not None:
        place = int(numbers.searchsorted(row, "right" if way > 0 else "left")) - (way < 0)
    while True:
        if numbers is None:
            row += way
            if not 1 <= row <= version.rows:
                return None
        else:
            if not 0 <= place < len(numbers):
                return None
            row = int(numbers[place])
            place += way
        if not (wish.undecided and decisions.has(row)):
            return row


@transaction.atomic
def accept_row(version: DatasetVersion, row: int, *, actor: Any) -> None:
    """Note that the actor has looked at a row and found it good."""
    require(actor, CHANGE, version.project)
    if not 1 <= row <= version.rows:
        raise refuse("row", f"{version.reference} has rows 1 to {version.rows:,}; {row:,} is none of them.")
    _, created = Glance.objects.get_or_create(version=version, row=row, person=actor)
    if created:
        record("rows.accepted", version, actor=actor, row=row)


@transaction.atomic
def forget_glance(version: DatasetVersion, row: int, *, actor: Any) -> None:
    require(actor, CHANGE, version.project)
    if Glance.objects.filter(version=version, row=row, person=actor).delete()[0]:
        record("rows.acceptance_undone", version, actor=actor, row=row)
