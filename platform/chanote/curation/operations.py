"""Operations on rows, in the form in which they are stored and replayed.

An operation is JSON: `op` and what it needs. Rows are named by their numbers in the version that the operations start
from, counted from 1, whatever other operations did before; `rows` holds ranges [first, last], both included.

    {"op": "edit", "row": 5, "content": {…}}
    {"op": "reject", "rows": [[5, 7], [9, 9]], "why": "…"}
    {"op": "flag" | "unflag", "rows": […], "flag": "needs-source"}
    {"op": "label", "rows": […], "name": "quality", "value": "good"}           value null takes it away
    {"op": "merge", "merged": [5, 9], "content": {…}}                           stands where the first stood
    {"op": "split", "row": 5, "contents": [{…}, {…}]}
    {"op": "deduplicate", "rows": […], "how": "exact" | "near", "clusters": 3}  the rows that go

Flags and labels are part of the row, under its field `curation`, and so of the version's hash.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

Tag = TypeVar("Tag")
Content = dict[str, Any]
Operation = dict[str, Any]
Ranges = list[list[int]]

ROW_OPERATIONS = ("edit", "split")
BULK_OPERATIONS = ("reject", "flag", "unflag", "label", "deduplicate")
FIELD = "curation"


class ReplayError(ValueError):
    """An operation does not fit the rows it is replayed on; the message says which and why."""


def replay(rows: Iterable[tuple[Content, Tag]], operations: Sequence[Operation]) -> Iterator[tuple[Content, Tag]]:
    """The rows after all operations, in one pass and in bounded memory; `Tag` travels along with its row."""
    starts: dict[int, list[int]] = {}
    ends: dict[int, list[int]] = {}
    for place, operation in enumerate(operations):
        for first, last in ranges_of(operation):
            starts.setdefault(first, []).append(place)
            ends.setdefault(last, []).append(place)
    active: list[int] = []
    number = 0
    for number, (content, tag) in enumerate(rows, start=1):
        if number in starts:
            active = sorted([*active, *starts.pop(number)])
        if not active:
            yield content, tag
            continue
        parts = [content]
        for place in active:
            parts = change_row(operations[place], number, parts)
        for part in parts:
            yield part, tag
        if number in ends:
            for place in ends[number]:
                active.remove(place)
    if starts:
        raise ReplayError(f"An operation names row {max(starts):,}; there are {number:,}.")


def change_row(operation: Operation, number: int, parts: list[Content]) -> list[Content]:
    """What one row, of which `parts` are left by the operations before, becomes: nothing, one row, or several."""
    if not parts:
        raise ReplayError(f"Row {number:,} is gone already; an operation ({operation['op']}) names it.")
    match operation["op"]:
        case "reject" | "deduplicate":
            return []
        case "edit":
            return [_only(parts, number) and operation["content"]]
        case "split":
            return list(_only(parts, number) and operation["contents"])
        case "merge":
            return [operation["content"]] if number == operation["merged"][0] else []
        case "flag":
            return [mark(part, number, flag=operation["flag"]) for part in parts]
        case "unflag":
            return [mark(part, number, unflag=operation["flag"]) for part in parts]
        case "label":
            return [mark(part, number, label=(operation["name"], operation["value"])) for part in parts]
    raise ReplayError(f"The operation {operation['op']!r} is not known.")


def _only(parts: list[Content], number: int) -> Content:
    if len(parts) > 1:
        raise ReplayError(f"Row {number:,} was split into {len(parts)}; undo the split to change it.")
    return parts[0]


def mark(
    content: Content, number: int, *, flag: str = "", unflag: str = "", label: tuple[str, str | None] | None = None
) -> Content:
    """The row with a flag or label more or less; the field goes when nothing is left in it."""
    marks = read_marks(content)
    if marks is None:
        raise ReplayError(
            f"Row {number:,} has a field {FIELD!r} of its own; rename it in the file and import it again."
        )
    flags, labels = set(marks["flags"]), dict(marks["labels"])
    if flag:
        flags.add(flag)
    flags.discard(unflag)
    if label is not None:
        name, value = label
        labels.pop(name, None)
        labels |= {name: value} if value is not None else {}
    kept: Content = {"flags": sorted(flags)} if flags else {}
    kept |= {"labels": labels} if labels else {}
    rest = {key: value for key, value in content.items() if key != FIELD}
    return {**rest, FIELD: kept} if kept else rest


def read_marks(content: Content) -> dict[str, Any] | None:
    """Flags and labels of a row; None where the field holds something else."""
    marks = content.get(FIELD, {})
    if not isinstance(marks, dict) or not marks.keys() <= {"flags", "labels"}:
        return None
    flags, labels = marks.get("flags", []), marks.get("labels", {})
    if not isinstance(flags, list) or not all(isinstance(one, str) for one in flags) or not isinstance(labels, dict):
        return None
    return {"flags": flags, "labels": labels}


def ranges_of(operation: Operation) -> Ranges:
    """Rows that an operation is about."""
    if "row" in operation:
        return [[operation["row"], operation["row"]]]
    if "merged" in operation:
        return [[row, row] for row in operation["merged"]]
    ranges: Ranges = operation["rows"]
    return ranges


def count_rows(ranges: Ranges) -> int:
    return sum(last - first + 1 for first, last in ranges)


def to_ranges(numbers: Iterable[int]) -> Ranges:
    """Row numbers as the fewest ranges, sorted, each row once."""
    ranges: Ranges = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges


def subtract(ranges: Ranges, taken: Iterable[Ranges]) -> Ranges:
    """Ranges without the rows of all `taken`."""
    gone = sorted(one for other in taken for one in other)
    left: Ranges = []
    place = 0
    for first, last in sorted(ranges):
        while place < len(gone) and gone[place][1] < first:
            place += 1
        here = place
        while first <= last:
            if here >= len(gone) or gone[here][0] > last:
                left.append([first, last])
                break
            if gone[here][0] > first:
                left.append([first, gone[here][0] - 1])
            first = max(first, gone[here][1] + 1)
            here += 1
    return left


def removed_by(operations: Iterable[Operation]) -> list[Ranges]:
    """Rows that are gone after the operations."""
    removed = []
    for operation in operations:
        if operation["op"] in ("reject", "deduplicate"):
            removed.append(operation["rows"])
        elif operation["op"] == "merge":
            removed.append([[row, row] for row in operation["merged"][1:]])
    return removed


def describe(operation: Operation) -> str:
    """What an operation does, in words."""
    count = count_rows(ranges_of(operation))
    ranges = ranges_of(operation)
    rows = f"row {ranges[0][0]:,}" if count == 1 else f"{count:,} rows"
    match operation["op"]:
        case "edit":
            return f"Edit {rows}"
        case "split":
            return f"Split {rows} into {len(operation['contents'])}"
        case "merge":
            return f"Merge rows {', '.join(f'{row:,}' for row in operation['merged'])} into one"
        case "reject":
            return f"Reject {rows}"
        case "flag":
            return f"Flag {rows}: {operation['flag']}"
        case "unflag":
            return f"Take the flag {operation['flag']} off {rows}"
        case "label":
            value = operation["value"]
            return f"Label {rows}: {operation['name']} {value}" if value else f"Unlabel {rows}: {operation['name']}"
        case "deduplicate":
            kind = "exact copies" if operation["how"] == "exact" else "near copies"
            return f"Remove {rows} as {kind}"
    return operation["op"]
