"""Rows as people may see them: with personal data masked, once a check has found any in their version.

Whatever shows rows of a dataset to a person calls `mask_row`; who must see the original calls `unmask_row`, which the
audit log keeps with the reason.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import transaction

from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.checks.models import CheckResult
from chanote.checks.personal.finding import mask_value
from chanote.checks.personal.patterns import KINDS
from chanote.datasets.canonical import encode_row
from chanote.datasets.models import DatasetVersion
from chanote.datasets.selectors import RowPage, holds
from chanote.datasets.storage import open_rows
from chanote.web.problems import Problem

PERSONAL = "personal"
"""Name of the check for personal data."""
SHORTEST_REASON = 10

SURE = tuple(kind for kind in KINDS if kind != "name")
"""Kinds that are told by their form. A name is one by a list, and half of all exercises in arithmetic hold some."""

Row = dict[str, Any]
Value = TypeVar("Value")


class UnmaskRefused(ValueError):
    """Nothing was shown; `problems` says why, by field."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = list(problems)
        super().__init__(" ".join(problem.message for problem in problems))


@dataclass(frozen=True)
class Mask:
    """How the rows of one version are masked. Ask once for a page, then apply it to each row."""

    kinds: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.kinds)

    def apply(self, row: Value) -> Value:
        """A row, or any value in one, a text for example."""
        masked: Value = mask_value(row, self.kinds, self.names) if self.kinds else row
        return masked


def find_mask(version: DatasetVersion) -> Mask:
    """The mask of a version: empty until a check for personal data has found some in its rows or in a version that they
    were made of. A new version is not bare until its own check has run.

    A result of another version with the same rows counts too, also one in another project: the rows are the same.
    """
    return _find_mask_of({version.pk: version.sha256})


def find_mask_of_writing(versions: Iterable[DatasetVersion]) -> Mask:
    """The mask of what models wrote that learned from these versions, or were asked their rows: whatever is told by its
    form, in any case, and all that was found in the versions."""
    found = _find_mask_of({version.pk: version.sha256 for version in versions})
    return Mask(tuple(kind for kind in KINDS if kind in SURE or kind in found.kinds), found.names)


def _find_mask_of(versions: dict[int, str]) -> Mask:
    results = CheckResult.objects.filter(version__sha256__in=_find_kin(versions), check_name=PERSONAL, found_rows__gt=0)
    kinds: set[str] = set()
    names: set[str] = set()
    for configuration in results.values_list("configuration", flat=True):
        kinds.update(configuration.get("kinds", KINDS))
        names.update(configuration.get("names", ()))
    return Mask(tuple(kind for kind in KINDS if kind in kinds), frozenset(names))


def _find_kin(versions: dict[int, str]) -> set[str]:
    """Hashes of the versions, given by their keys, and of all that they were made of, however long ago."""
    hashes, seen = {*versions.values()}, {*versions}
    ahead = [*versions]
    while ahead:
        parents = DatasetVersion.objects.filter(children__in=ahead)
        drawn = DatasetVersion.objects.filter(
            pk__in=DatasetVersion.drawn_from.through.objects.filter(from_datasetversion__in=ahead).values(
                "to_datasetversion"
            )
        )
        found = {*parents.values_list("pk", "sha256"), *drawn.values_list("pk", "sha256")}
        ahead = [pk for pk, _ in found if pk not in seen]
        seen.update(ahead)
        hashes.update(sha256 for _, sha256 in found)
    return hashes


def check_reason(reason: str) -> str:
    """The reason for taking a mask off, on one line. Raises UnmaskRefused."""
    reason = " ".join(reason.split())
    if len(reason) < SHORTEST_REASON or len(reason) > 500:
        raise UnmaskRefused(
            Problem("reason", f"Say why you must see it, in {SHORTEST_REASON} to 500 characters; the log keeps it.")
        )
    return reason


def mask_lines(version: DatasetVersion, mask: Mask) -> Iterator[bytes]:
    """The rows of a version as JSON lines, masked."""
    for row in open_rows(version):
        yield encode_row(mask.apply(row))


def mask_row(version: DatasetVersion, number: int, row: Row) -> Row:
    """Row `number` (from 1) as anybody who sees the dataset may see it.

    For many rows of one version take `find_mask(version).apply` instead: it asks the database once.
    """
    return find_mask(version).apply(row)


def mask_page(page: RowPage, mask: Mask) -> None:
    """Mask the rows of a page. Of a search, rows that hold the words only in what is masked are taken out.

    A search that found them would tell a number digit by digit.
    """
    if mask:
        wanted = page.query.casefold()
        masked = [(number, mask.apply(row)) for number, row in page.rows]
        page.rows = [(number, row) for number, row in masked if not wanted or holds(row, wanted)]
        page.found = None if wanted else page.found


@transaction.atomic
def unmask_row(version: DatasetVersion, number: int, *, reason: str, actor: Any) -> Row:
    """Row `number` (from 1) as it is stored. Asks for the right to change datasets; the audit log keeps the reason.

    Raises UnmaskRefused without a reason or for a row that is not there, and PermissionDenied.
    """
    require(actor, "datasets.change", version.dataset.project)
    if not 1 <= number <= version.rows:
        raise UnmaskRefused(Problem("row", f"{version} has no row {number}; its rows are 1 to {version.rows:,}."))
    reason = check_reason(reason)
    row = next(open_rows(version, number - 1, number))
    record("dataset.row_unmasked", version, actor=actor, row=number, reason=reason)
    return row
