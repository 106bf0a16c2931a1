"""Reads about datasets that join, count or search."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Prefetch, QuerySet

from chanote.accounts.models import Project
from chanote.datasets.features import FoundRows
from chanote.datasets.models import Dataset, DatasetVersion
from chanote.datasets.storage import open_lines

ROWS_PER_PAGE = 50
SEARCH_SECONDS = 1.5
"""A search stops after this time and says how far it looked."""


def find_version(project: Project, reference: str) -> DatasetVersion:
    """The version that a recipe names: `slug@3`, or `slug` for the newest. Raises DatasetVersion.DoesNotExist."""
    slug, _, number = reference.partition("@")
    versions = DatasetVersion.objects.filter(dataset__project=project, dataset__slug=slug).select_related("dataset")
    if number:
        if not number.isdigit():
            raise DatasetVersion.DoesNotExist(f"{reference} names no version; write {slug}@ and its number.")
        version = versions.filter(number=int(number)).first() if len(number) < 9 else None
    else:
        version = versions.order_by("-number").first()
    if version is None:
        known = "has no such version" if versions.exists() else "is no dataset of this project"
        raise DatasetVersion.DoesNotExist(f"{reference} {known}.")
    return version


def list_datasets(datasets: QuerySet[Dataset]) -> list[Dataset]:
    """Datasets with their versions at hand, newest first, in two queries whatever their number."""
    return list(
        datasets.prefetch_related(
            Prefetch("versions", DatasetVersion.objects.order_by("-number").select_related("created_by"))
        )
    )


def runs_using(version: DatasetVersion) -> QuerySet[Any]:
    """Runs of the project whose frozen spec holds these rows, newest first."""
    from chanote.runs.models import Run

    # The hash, not the name: the spec keeps the name that the recipe used, with or without a number.
    return Run.objects.filter(project=version.dataset.project, snapshot__datasets__icontains=version.sha256).order_by(
        "-created"
    )


@dataclass
class RowPage:
    """Rows of a version with their numbers, counted from 1."""

    rows: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    start: int = 0
    """First row looked at, from 0."""
    looked: int = 0
    """Row after the last that was looked at."""
    total: int = 0
    query: str = ""
    next_start: int | None = None
    previous_start: int | None = None
    timed_out: bool = False
    found: int | None = None
    """Rows of the whole version that answer; None where not all were looked at."""

    @property
    def first(self) -> int:
        """Number of the first row looked at."""
        return min(self.start + 1, self.total)

    @property
    def after(self) -> int:
        """Number of the row at which to go on."""
        return self.looked + 1


def read_page(version: DatasetVersion, *, start: int = 0, size: int = ROWS_PER_PAGE) -> RowPage:
    start = min(max(start, 0), max(version.rows - 1, 0))
    page = RowPage(start=start, total=version.rows)
    for number, line in enumerate(open_lines(version, start, start + size), start=start + 1):
        page.rows.append((number, json.loads(line)))
    page.looked = start + len(page.rows)
    page.next_start = page.looked if page.looked < version.rows else None
    page.previous_start = max(start - size, 0) if start else None
    return page


def read_found(
    version: DatasetVersion, found: FoundRows, query: str = "", *, start: int = 0, size: int = ROWS_PER_PAGE
) -> RowPage:
    """Of the rows that were found those from the `start`th row of the version on."""
    first = int(found.numbers.searchsorted(start, "right"))
    page = RowPage(start=start, total=version.rows, query=query, found=len(found.numbers))
    for number in map(int, found.numbers[first : first + size]):
        page.rows.append((number, json.loads(next(open_lines(version, number - 1, number)))))
    more = first + size < len(found.numbers)
    page.looked = page.rows[-1][0] if page.rows and more else found.looked
    page.next_start = page.looked if more or found.looked < version.rows else None
    page.timed_out = found.looked < version.rows
    if first:
        earlier = max(first - size, 0)
        page.previous_start = int(found.numbers[earlier]) - 1
    return page


def search_rows(
    version: DatasetVersion,
    query: str,
    *,
    start: int = 0,
    size: int = ROWS_PER_PAGE,
    seconds: float = SEARCH_SECONDS,
) -> RowPage:
    """The next rows from `start` on in which any text holds `query`, whatever its case."""
    page = RowPage(start=start, looked=start, total=version.rows, query=query)
    wanted = query.casefold()
    # As the query stands in a JSON string; only lines that hold it are parsed.
    spelled = json.dumps(wanted, ensure_ascii=False)[1:-1]
    until = time.monotonic() + seconds
    for number, line in enumerate(open_lines(version, start), start=start + 1):
        page.looked = number
        if spelled in line.decode().casefold() and holds(json.loads(line), wanted):
            page.rows.append((number, json.loads(line)))
        if len(page.rows) == size:
            break
        # Always at least one block, so that a search that is continued moves on.
        if number % 256 == 0 and time.monotonic() > until:
            page.timed_out = True
            break
    page.next_start = page.looked if page.looked < version.rows else None
    return page


def holds(value: Any, wanted: str) -> bool:
    """Whether any text in the value, names of fields aside, holds `wanted` (already casefolded)."""
    if isinstance(value, str):
        return wanted in value.casefold()
    if isinstance(value, dict):
        return any(holds(inner, wanted) for inner in value.values())
    if isinstance(value, list):
        return any(holds(inner, wanted) for inner in value)
    return value is not None and not isinstance(value, bool) and wanted == str(value)
