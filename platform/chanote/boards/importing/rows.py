"""What every format is read into."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "truncated", "unparsable", "error", "left_out"]


class NotReadable(ValueError):
    """The file is not what it was taken for; one sentence that says why."""


@dataclass(frozen=True)
class ImportedItem:
    item: str
    score: float | None
    """From 0 to 1, the mean over the samples of the item; None when it has none: `status` says why."""
    prompt: str = ""
    output: str = ""
    target: str = ""
    cluster: str = ""
    status: Status = "ok"
    detail: dict[str, Any] = field(default_factory=dict)
    """As of a `trainer.contract.events.ScoredSample`, such as what judges said."""


@dataclass(frozen=True)
class ImportedResult:
    """One model on one task by one metric."""

    task: str
    metric: str
    items: list[ImportedItem]
    model: str = ""
    """As the file names it; empty when it does not."""
    reported_mean: float | None = None
    reported_error: float | None = None
    """Standard error as the harness states it, of items taken as independent."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What the file says about how it was asked: shots, templates, versions. Part of the task's identity."""
    decoding: dict[str, Any] = field(default_factory=dict)
    """How answers were drawn. Part of the row's identity, not of the task's."""
    program: str = ""
    """The harness's own version, where the file tells it."""


@dataclass
class Parsed:
    results: list[ImportedResult] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """A line for every row that was not taken, with its place and the reason."""


def read_json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise NotReadable(f"it is no JSON: {error}") from error


def read_lines(data: bytes, parsed: Parsed) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of a JSONL file with their line numbers; a line that is none is skipped and told."""
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
            parsed.skipped.append(f"line {number}: no JSON")
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            parsed.skipped.append(f"line {number}: no object")


def as_number(value: Any) -> float | None:
    """A finite number or a truth value; None for anything else, such as "N/A" or NaN."""
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value)
    return None


def as_text(value: Any) -> str:
    """Text as it is; anything else as JSON."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
