"""The first rows of a file, as they are and as they would be imported."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from chanote.datasets.canonical import check_row, encode_row
from chanote.datasets.columns import Columns, detect_columns, resolve_columns
from chanote.datasets.errors import BadRow, ImportRefused, RowError
from chanote.datasets.kinds import ROW_MODELS
from chanote.datasets.reading import read_rows
from chanote.datasets.services import LAYOUT_ROWS, name_columns, prepare_rows
from chanote.web.problems import Problem

SHOWN = 5


@dataclass
class Preview:
    names: list[str] = field(default_factory=list)
    """Columns of the file."""
    raw: list[list[str]] = field(default_factory=list)
    """First rows, a cell per column, cut to a line."""
    columns: Columns = field(default_factory=dict)
    """Mapping in use."""
    rows: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_names(path: Path, format: str) -> list[str]:
    """Columns of a file. Raises ImportRefused for a file that cannot be read at all."""
    with path.open("rb") as file:
        return name_columns(islice(read_rows(file, format), LAYOUT_ROWS))


def guess_kind(names: list[str]) -> str:
    """The kind whose fields the columns show; `text` where nothing is shown."""
    found = {kind: detect_columns(kind, names) for kind in ROW_MODELS}
    if {"question", "choices", "answer"} <= found["choices"].keys():
        return "choices"
    if {"chosen", "rejected"} <= found["preferences"].keys():
        return "preferences"
    if "messages" in found["chat"]:
        return "chat"
    if "text" in found["text"]:
        return "text"
    return "prompts" if "question" in found["prompts"] else "text"


def preview_file(path: Path, format: str, kind: str, given: Mapping[str, str | list[str]] | None) -> Preview:
    """What an import would make of the first rows; what stands in its way is listed, not raised."""
    preview = Preview()
    try:
        with path.open("rb") as file:
            first = list(islice(read_rows(file, format), LAYOUT_ROWS))
        preview.names = name_columns(first)
        preview.raw = [
            [_spell_cell(row[1].get(name)) for name in preview.names] for row in first[:SHOWN] if isinstance(row, tuple)
        ]
        preview.columns = resolve_columns(kind, preview.names, given) if preview.names else {}
        with path.open("rb") as file:
            for row in islice(prepare_rows(file, format, kind, given), SHOWN):
                _check(row, kind, preview)
    except ImportRefused as refusal:
        preview.problems = refusal.problems
    return preview


def _check(row: tuple[int, dict[str, Any]] | BadRow, kind: str, preview: Preview) -> None:
    if isinstance(row, BadRow):
        preview.bad.append(row)
        return
    try:
        content = json.loads(encode_row(check_row(ROW_MODELS[kind], row[1]).content()))
    except RowError as error:
        preview.bad.append(BadRow(row[0], str(error)))
    else:
        preview.rows.append((row[0], content))


def _spell_cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= 80 else f"{text[:79]}…"
