"""Reads about results of checks."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy
from django.db.models import QuerySet

from chanote.boards.models import Task
from chanote.checks.checkers import CHECKS
from chanote.checks.findings import of_rows, open_detail, open_findings
from chanote.checks.models import CheckResult
from chanote.datasets.models import DatasetVersion
from chanote.datasets.storage import StoreError

MOST_ROWS = 1000


@dataclass(frozen=True)
class RowFinding:
    row: int
    """From 1."""
    check: str
    code: str
    words: str
    """What is the matter with the row, to be read after "row 12 "."""
    value: int
    is_fact: bool
    """Only describes the row; there is nothing to mend."""


def newest_results(version: DatasetVersion) -> dict[str, CheckResult]:
    """The last result of each check, in the order of the checks."""
    found: dict[str, CheckResult] = {}
    for result in results_of(version).order_by("created", "id"):
        found[result.check_name] = result
    return {name: found[name] for name in CHECKS if name in found}


def results_of(version: DatasetVersion) -> QuerySet[CheckResult]:
    return CheckResult.objects.filter(version=version).select_related("created_by")


def findings_of_rows(
    version: DatasetVersion, first: int, last: int, *, facts: bool = False
) -> dict[int, list[RowFinding]]:
    """What the newest results say of rows `first` to `last` (from 1, both included). `facts`: also what only describes.

    A result whose file is gone from the store says nothing here; its own page says that it is gone.
    """
    found: dict[int, list[RowFinding]] = defaultdict(list)
    for result in newest_results(version).values():
        check = CHECKS[result.check_name]
        try:
            findings = open_findings(result.findings_sha256)
        except StoreError:
            continue
        for one in of_rows(findings, list(check.finds), first - 1, last):
            is_fact = one.code in check.facts
            if facts or not is_fact:
                words = word_finding(result.check_name, one.code, one.value)
                found[one.row].append(RowFinding(one.row, result.check_name, one.code, words, one.value, is_fact))
    return dict(found)


def word_finding(check: str, code: str, value: int) -> str:
    words = CHECKS[check].finds[code]
    if check == "personal":
        return f"holds {value} × {words}" if value > 1 else f"holds: {words}"
    if code in ("exact", "near", "id_repeated"):
        return f"{words.replace('an earlier row', f'row {value:,}')}"
    return words


def rows_found(
    result: CheckResult, codes: Iterable[str] = (), *, start: int = 0, limit: int = 50
) -> tuple[list[int], int | None]:
    """Numbers (from 1) of rows with one of the codes, any that is no mere fact when none is named, from row `start`
    (from 0) on; and where to go on, None at the end. Raises StoreError when the file of findings is gone."""
    check = CHECKS[result.check_name]
    wanted = [place for place, code in enumerate(check.finds) if (code in codes if codes else code not in check.facts)]
    found = open_findings(result.findings_sha256)
    found = found[numpy.searchsorted(found["row"], start) :]
    rows: list[int] = []
    # In slices: of a million findings only those that are shown are read.
    for place in range(0, len(found), 65_536):
        piece = found[place : place + 65_536]
        hits = numpy.unique(piece["row"][numpy.isin(piece["code"], wanted)]).tolist()
        rows += [row for row in hits if not rows or row > rows[-1]]
        if len(rows) > limit:
            return [row + 1 for row in rows[:limit]], rows[limit]
    return [row + 1 for row in rows], None


@dataclass(frozen=True)
class CleanItems:
    """Which items of a task some versions of datasets hold."""

    held: dict[str, float] = field(default_factory=dict)
    """Item → greatest share of its 13-word and 50-letter runs that one version holds, of its question or its answer."""
    source: frozenset[str] = frozenset()
    """Items whose law or passage is held: as a rule that is wanted."""
    untold: frozenset[str] = frozenset()
    """Items too short to tell."""
    unchecked: tuple[DatasetVersion, ...] = ()
    """Versions without a result for this task: nothing is known of them."""

    def is_clean(self, item: str, *, share: float = 0.0) -> bool:
        """Whether no more than `share` of the item is held. Nothing is said of versions in `unchecked`."""
        return self.held.get(item, 0.0) <= share


def find_clean_items(task: Task, versions: Sequence[DatasetVersion]) -> CleanItems:
    """What the checks of `versions` (of the data that a model was trained on) say of the items of a task."""
    held: dict[str, float] = {}
    source: set[str] = set()
    untold: set[str] = set()
    unchecked: list[DatasetVersion] = []
    for one in find_clean_items_of([task], versions)[task].values():
        held |= {item: max(share, held.get(item, 0.0)) for item, share in one.held.items()}
        source |= one.source
        untold |= one.untold
        unchecked += one.unchecked
    return CleanItems(held, frozenset(source), frozenset(untold), tuple(unchecked))


def find_clean_items_of(tasks: Sequence[Task], versions: Sequence[DatasetVersion]) -> dict[Task, dict[int, CleanItems]]:
    """What each version says of each task of one project, in one query however many there are. By id of the version."""
    newest = _list_overlaps(tasks[0].project_id, versions) if tasks else {}
    return {
        task: {version.pk: _tell_items(task, version, newest.get(version.sha256, ())) for version in versions}
        for task in tasks
    }


def _tell_items(task: Task, version: DatasetVersion, details: Sequence[str]) -> CleanItems:
    told = None if version.pk == task.dataset_version_id else _find_task(details, task)
    if told is None:
        return CleanItems(unchecked=(version,))
    shares = {one["item"]: max(one["question"], one["answer"]) for one in told["found"]}
    return CleanItems(
        held={item: share for item, share in shares.items() if share},
        source=frozenset(one["item"] for one in told["found"] if one["source"]),
        untold=frozenset(told["untold"]),
    )


def _list_overlaps(project: int, versions: Sequence[DatasetVersion]) -> dict[str, list[str]]:
    """Hashes of the details of the checks of overlap, the newest first, by the hash of the rows."""
    results = CheckResult.objects.filter(
        version__sha256__in={version.sha256 for version in versions},
        version__dataset__project=project,
        check_name="overlap",
    )
    found: dict[str, list[str]] = defaultdict(list)
    for rows, detail in results.order_by("-created", "-id").values_list("version__sha256", "detail_sha256"):
        if len(found[rows]) < 20:
            found[rows].append(detail)
    return found


def _find_task(details: Sequence[str], task: Task) -> Any:
    """The newest result that looked for this very task."""
    for sha256 in details:
        try:
            told = _open_tasks(sha256).get((task.sha256, task.reference))
        except StoreError:
            continue
        if told is not None:
            return told
    return None


@lru_cache(maxsize=64)
def _open_tasks(sha256: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What a result says of each task, by hash and name. A file is named by its hash, so it never changes."""
    return {(told["sha256"], told["task"]): told for told in open_detail(sha256).get("tasks", ())}
