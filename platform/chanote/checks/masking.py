"""Rows as people may see them: with personal data masked, once a check has found any in their version.

Whatever shows rows of a dataset to a person calls `mask_row`; who must see the original calls `unmask_row`, which the
audit log keeps with the reason.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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

Row = dict[str, Any]


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

    def apply(self, row: Row) -> Row:
        return mask_value(row, self.kinds, self.names) if self.kinds else row


def find_mask(version: DatasetVersion) -> Mask:
    """The mask of a version: empty until a check for personal data has found some in its rows or in a version that they
    were made of. A new version is not bare until its own check has run.

    A result of another version with the same rows counts too, also one in another project: the rows are the same.
    """
    kin = _find_kin(version)
    results = CheckResult.objects.filter(version__sha256__in=kin, check_name=PERSONAL, found_rows__gt=0)
    kinds: set[str] = set()
    names: set[str] = set()
    for configuration in results.values_list("configuration", flat=True):
        kinds.update(configuration.get("kinds", KINDS))
        names.update(configuration.get("names", ()))
    return Mask(tuple(kind for kind in KINDS if kind in kinds), frozenset(names))


def _find_kin(version: DatasetVersion) -> set[str]:
    """Hashes of the version and of all that it was made of, however long ago."""
    hashes, seen = {version.sha256}, {version.pk}
    ahead = [version.pk]
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


@transaction.atomic
def unmask_row(version: DatasetVersion, number: int, *, reason: str, actor: Any) -> Row:
    """Row `number` (from 1) as it is stored. Asks for the right to change datasets; the audit log keeps the reason.

    Raises UnmaskRefused without a reason or for a row that is not there, and PermissionDenied.
    """
    require(actor, "datasets.change", version.dataset.project)
    reason = " ".join(reason.split())
    if not 1 <= number <= version.rows:
        raise UnmaskRefused(Problem("row", f"{version} has no row {number}; its rows are 1 to {version.rows:,}."))
    if len(reason) < SHORTEST_REASON or len(reason) > 500:
        raise UnmaskRefused(
            Problem(
                "reason", f"Say why you must see the row, in {SHORTEST_REASON} to 500 characters; the log keeps it."
            )
        )
    row = next(open_rows(version, number - 1, number))
    record("dataset.row_unmasked", version, actor=actor, row=number, reason=reason)
    return row
