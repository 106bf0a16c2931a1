"""Collecting changes to rows, one person's draft at a time, and making one new version of them.

Every change is stored as soon as it is made: a browser that dies loses nothing. What is stored is replayed.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.curation.models import Change, ChangeSet
from chanote.curation.operations import (
    BULK_OPERATIONS,
    FIELD,
    Content,
    Operation,
    Ranges,
    ReplayError,
    change_row,
    count_rows,
    ranges_of,
    read_marks,
    removed_by,
    replay,
    subtract,
    to_ranges,
)
from chanote.curation.services import CHANGE, read_text, refuse
from chanote.datasets.canonical import check_row, encode_row
from chanote.datasets.errors import ImportRefused, RowError
from chanote.datasets.kinds import ROW_MODELS
from chanote.datasets.making import SourcedRow, make_version, read_sourced_rows
from chanote.datasets.models import Dataset, DatasetVersion
from chanote.datasets.storage import open_lines, open_rows
from chanote.rights.spans import read_sources

NAME = "edit_rows"
"""`operation.name` of versions that are made here."""
WORD = re.compile(r"[\w.-]{1,60}\Z")
MOST_CHANGES = 10_000
SAMPLES = 5


def find_change_set(version: DatasetVersion, actor: Any) -> ChangeSet | None:
    """The person's open draft of changes to this version."""
    return ChangeSet.objects.filter(version=version, author=actor, status=ChangeSet.Status.OPEN).first()


def operations_of(change_set: ChangeSet | None) -> list[Operation]:
    return list(change_set.changes.values_list("operation", flat=True)) if change_set else []


@transaction.atomic
def record_change(version: DatasetVersion, operation: Operation, *, actor: Any) -> Change:
    """Add one operation to the actor's draft, made if there is none. Raises CurationRefused."""
    require(actor, CHANGE, version.project)
    # Two changes of one person at once get numbers one after the other.
    Dataset.objects.select_for_update().get(pk=version.dataset_id)
    change_set, created = ChangeSet.objects.get_or_create(
        version=version, author=actor, status=ChangeSet.Status.OPEN, defaults={"author_name": actor.username}
    )
    change_set.version = version
    before = operations_of(change_set)
    if len(before) >= MOST_CHANGES:
        raise refuse("", f"{MOST_CHANGES:,} changes are collected; make a version of them before you go on.")
    operation = check_operation(version, operation, before)
    last = change_set.changes.order_by("-number").values_list("number", flat=True).first() or 0
    touched = count_rows(ranges_of(operation))
    change = change_set.changes.create(number=last + 1, operation=operation, touched=touched)
    record("rows.changed", version, actor=actor, op=operation["op"], rows=touched, change=change.number)
    return change


@transaction.atomic
def undo_change(change: Change, *, actor: Any) -> None:
    """Take one change of one's own out of the draft; those after it stay."""
    _check_own(change.change_set, actor)
    record("rows.change_undone", change.change_set.version, actor=actor, change=change.number)
    change.delete()


@transaction.atomic
def drop_changes(change_set: ChangeSet, *, actor: Any) -> None:
    """Close a draft without making a version."""
    _check_own(change_set, actor)
    record("rows.changes_dropped", change_set.version, actor=actor, changes=change_set.changes.count())
    change_set.status, change_set.closed = ChangeSet.Status.DROPPED, timezone.now()
    change_set.save(update_fields=["status", "closed"])


def apply_changes(change_set: ChangeSet, *, reason: str, actor: Any) -> DatasetVersion:
    """Make one version of all changes in the draft. Raises CurationRefused; then the draft is as it was."""
    _check_own(change_set, actor)
    reason = read_text("reason", reason, needed=True)
    if len(reason) > 500:
        raise refuse("reason", f"The reason has {len(reason):,} characters; 500 fit. Shorten it.")
    version = change_set.version
    operations = operations_of(change_set)
    if not operations:
        raise refuse("", "Nothing is changed yet.")
    newest = version.dataset.versions.order_by("-number").first()
    if newest is not None and newest != version:
        if newest.created_by == actor and newest.operation.get("operations") == operations:
            # Made by this very draft, before a broken-off process could say so.
            return _close(change_set, newest, actor, len(operations))
        raise refuse(
            "version",
            f"{newest} was made meanwhile, and these changes belong to {version}: carry them over to it first.",
        )
    try:
        made = make_version(
            project=version.project,
            slug=version.dataset.slug,
            kind=version.dataset.kind,
            rows=replay_on(version, operations),
            drawn_from=[version],
            operation={
                "name": NAME, "version": version.reference, "sha256": version.sha256, "operations": operations,
            },
            reason=reason,
            licence=version.licence,
            non_commercial=version.non_commercial,
            source=version.source,
            follows=version,
            actor=actor,
        )  # fmt: skip
    except ReplayError as error:
        raise refuse("", str(error)) from error
    except ImportRefused as error:
        raise refuse("", str(error)) from error
    if made.unchanged:
        raise refuse("", "After all changes the rows are what they were, so there is nothing to make a version of.")
    return _close(change_set, made, actor, len(operations))


@transaction.atomic
def _close(change_set: ChangeSet, made: DatasetVersion, actor: Any, count: int) -> DatasetVersion:
    change_set.status, change_set.result, change_set.closed = ChangeSet.Status.APPLIED, made, timezone.now()
    change_set.save(update_fields=["status", "result", "closed"])
    record("rows.changes_applied", made, actor=actor, changes=count, reason=made.reason)
    return made


def replay_on(version: DatasetVersion, operations: Sequence[Operation]) -> Iterator[SourcedRow]:
    """Rows of the version, each with its source, after the operations."""
    return replay(read_sourced_rows(version), operations)


def replay_version(version: DatasetVersion) -> str:
    """Do again what made the version, from the rows it was made of; the hash that comes out. Raises ReplayError."""
    if version.operation.get("name") != NAME:
        raise ReplayError(f"{version.reference} was not made by changing rows, so there is nothing to replay.")
    base = version.drawn_from.first()
    if base is None or base.sha256 != version.operation["sha256"]:
        raise ReplayError(f"The rows that {version.reference} was made of are not those it names.")
    row_model, digest = ROW_MODELS[version.dataset.kind], hashlib.sha256()
    for content, _ in replay_on(base, version.operation["operations"]):
        digest.update(encode_row(check_row(row_model, content).content()))
    return digest.hexdigest()


def read_row(version: DatasetVersion, number: int, operations: Sequence[Operation]) -> tuple[Content, list[Content]]:
    """One row as it is, and what the operations make of it: nothing, one row or several."""
    before: Content = next(open_rows(version, number - 1, number))
    parts = [before]
    for operation in operations:
        if any(first <= number <= last for first, last in ranges_of(operation)):
            parts = change_row(operation, number, parts)
    return before, parts


def check_operation(version: DatasetVersion, operation: Operation, before: Sequence[Operation]) -> Operation:
    """The operation in the one form that is stored, after those before it. Raises CurationRefused."""
    match operation.get("op"):
        case "edit":
            row = _check_row_number(version, operation.get("row"))
            checked: Operation = {"op": "edit", "row": row, "content": _check_content(version, operation["content"])}
        case "split":
            row = _check_row_number(version, operation.get("row"))
            contents = [_check_content(version, one) for one in operation["contents"]]
            if len(contents) < 2:
                raise refuse("contents", "A row is split into at least two.")
            checked = {"op": "split", "row": row, "contents": contents}
        case "merge":
            merged = sorted({_check_row_number(version, row) for row in operation["merged"]})
            if len(merged) < 2:
                raise refuse("merged", "Name at least two rows to merge.")
            _check_one_source(version, merged)
            checked = {"op": "merge", "merged": merged, "content": _check_content(version, operation["content"])}
        case op if op in BULK_OPERATIONS:
            ranges = subtract(check_ranges(version, operation["rows"]), removed_by(before))
            if not ranges:
                raise refuse("rows", "No row is left to change: all of them are gone already.")
            checked = {"op": op, "rows": ranges, **_check_words(operation)}
        case op:
            raise refuse("op", f"The operation {op!r} is not known.")
    _try_on_rows(version, checked, before)
    return checked


def _check_words(operation: Operation) -> Operation:
    match operation["op"]:
        case "reject":
            return {"why": read_text("why", operation.get("why", ""))}
        case "deduplicate":
            return {"how": operation["how"], "clusters": int(operation["clusters"])}
        case "label":
            value = operation["value"]
            return {
                "name": _check_word("name", operation["name"]),
                "value": None if value in (None, "") else _check_word("value", value),
            }
        case _:
            return {"flag": _check_word("flag", operation["flag"])}


def _check_word(field: str, word: Any) -> str:
    if not isinstance(word, str) or not WORD.match(word):
        raise refuse(field, f"A {field} is one word of at most 60 letters, digits, '-', '_' and '.'.")
    return word


def _check_row_number(version: DatasetVersion, number: Any) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= version.rows:
        raise refuse("row", f"{version.reference} has rows 1 to {version.rows:,}; {number} is none of them.")
    return number


def check_ranges(version: DatasetVersion, ranges: Any) -> Ranges:
    """The ranges sorted, joined where they meet. Raises CurationRefused for rows that there are not."""
    joined: Ranges = []
    for pair in sorted(list(one) for one in ranges):
        if len(pair) != 2 or pair[0] > pair[1]:
            raise refuse("rows", "Rows are given as pairs of a first and a last number.")
        first, last = (_check_row_number(version, number) for number in pair)
        if joined and first <= joined[-1][1] + 1:
            joined[-1][1] = max(joined[-1][1], last)
        else:
            joined.append([first, last])
    if not joined:
        raise refuse("rows", "No row is named.")
    return joined


def _check_content(version: DatasetVersion, content: Any) -> Content:
    if not isinstance(content, dict):
        raise refuse("content", "A row is a JSON object with the fields of its kind.")
    try:
        checked = check_row(ROW_MODELS[version.dataset.kind], content).content()
        encode_row(checked)
    except RowError as error:
        raise refuse("content", f"The row {error}.") from error
    if read_marks(checked) is None:
        raise refuse("content", f"The field {FIELD} is for flags and labels; give yours another name.")
    return checked


def _check_one_source(version: DatasetVersion, rows: Sequence[int]) -> None:
    sources = {next(read_sources(version, row - 1, row)) for row in rows}
    if len(sources) > 1:
        raise refuse("merged", "These rows come from different sources; merged, one of them could not be withdrawn.")


def _try_on_rows(version: DatasetVersion, operation: Operation, before: Sequence[Operation]) -> None:
    """Do the operation on the first and last row of each range, so that what cannot be done is said now."""
    ranges = ranges_of(operation)
    for number in sorted({row for pair in ranges[:50] for row in pair}):
        try:
            _, parts = read_row(version, number, before)
            change_row(operation, number, parts)
        except ReplayError as error:
            raise refuse("rows", str(error)) from error


def _check_own(change_set: ChangeSet, actor: Any) -> None:
    require(actor, CHANGE, change_set.project)
    if change_set.author_id != actor.pk:
        raise refuse("", f"These are {change_set.author_name}'s changes; only they can go on with them.")
    if change_set.status != ChangeSet.Status.OPEN:
        raise refuse("", f"These changes are {change_set.get_status_display()} already.")


@dataclass(frozen=True)
class BulkPreview:
    """What a bulk operation would do."""

    operation: Operation
    rows: int
    skipped: int
    """Rows asked for that are gone already."""
    samples: list[tuple[int, Content, list[Content]]]
    """Number, the row now, and what becomes of it."""


def preview_bulk(version: DatasetVersion, operation: Operation, *, actor: Any) -> BulkPreview:
    """Count the rows and show some, first, last and between; nothing is written. Raises CurationRefused."""
    require(actor, CHANGE, version.project)
    before = operations_of(find_change_set(version, actor))
    asked = count_rows(check_ranges(version, operation["rows"]))
    checked = check_operation(version, operation, before)
    rows = count_rows(checked["rows"])
    samples = []
    for place in sorted({round(step * (rows - 1) / max(SAMPLES - 1, 1)) for step in range(SAMPLES)}):
        number = _nth(checked["rows"], place)
        _, parts = read_row(version, number, before)
        samples.append((number, parts[0], change_row(checked, number, parts)))
    return BulkPreview(checked, rows, asked - rows, samples)


def _nth(ranges: Ranges, place: int) -> int:
    for first, last in ranges:
        if place <= last - first:
            return first + place
        place -= last - first + 1
    raise IndexError(place)


def find_exact_copies(version: DatasetVersion, operations: Sequence[Operation]) -> Operation | None:
    """The operation that keeps the first of all equal rows, flags and labels aside; None where there is no copy."""
    seen: dict[bytes, int] = {}
    copies: list[int] = []
    copied: set[int] = set()
    for number, mark in _hash_rows(version, operations):
        if mark in seen:
            copies.append(number)
            copied.add(seen[mark])
        else:
            seen[mark] = number
    if not copies:
        return None
    return {"op": "deduplicate", "rows": to_ranges(copies), "how": "exact", "clusters": len(copied)}


def _hash_rows(version: DatasetVersion, operations: Sequence[Operation]) -> Iterator[tuple[int, bytes]]:
    """Number and hash of each row that is left, split ones aside."""
    if not operations:
        for number, line in enumerate(open_lines(version), start=1):
            yield number, _hash_unmarked(json.loads(line)) if b'"curation":' in line else _hash(line)
        return
    parts: list[Content] = []
    at = 0
    numbered = ((row, number) for number, row in enumerate(open_rows(version), start=1))
    for content, number in replay(numbered, operations):
        if number != at:
            if len(parts) == 1:
                yield at, _hash_unmarked(parts[0])
            parts, at = [], number
        parts.append(content)
    if len(parts) == 1:
        yield at, _hash_unmarked(parts[0])


def _hash_unmarked(content: Content) -> bytes:
    return _hash(encode_row({name: value for name, value in content.items() if name != FIELD}))


def _hash(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=16).digest()
