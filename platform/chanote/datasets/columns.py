"""Columns of a file → fields of a row: found by name, or said by the person who imports."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from chanote.datasets.errors import ImportRefused, RowError
from chanote.datasets.kinds import ROW_MODELS
from chanote.datasets.reading.jsonl import parse_object
from chanote.web.problems import Problem

Columns = dict[str, str | list[str]]
"""Field → column; for the options of `choices` also a list of columns, one per option."""

STRUCTURED = {"messages", "tools", "citations", "choices"}
OPTION = re.compile(r"(?:(?:choice|option|answer)[ _-]?)?([a-h]|[0-9]{1,2})\Z")


def fields_of(kind: str) -> list[str]:
    """Fields that columns can be mapped to."""
    return [*ROW_MODELS[kind].model_fields, *ROW_MODELS[kind].loose]


def detect_columns(kind: str, names: Sequence[str]) -> Columns:
    """Each field's column, by its own name first, then by the names that files in the wild have."""
    by_name = {name.strip().lower(): name for name in reversed(names)}
    aliases = ROW_MODELS[kind].aliases
    found: Columns = {}
    taken: set[str] = set()
    for field in fields_of(kind):
        if field in by_name:
            found[field] = by_name[field]
            taken.add(by_name[field])
    for field in fields_of(kind):
        for alias in aliases.get(field, ()):
            if field not in found and alias in by_name and by_name[alias] not in taken:
                found[field] = by_name[alias]
                taken.add(by_name[alias])
    if kind == "chat" and "messages" in found:
        found = {field: column for field, column in found.items() if field not in ROW_MODELS[kind].loose}
    if kind == "choices" and "choices" not in found:
        options = [name for name in names if OPTION.match(name.strip().lower()) and name not in taken]
        if len(options) >= 2:
            found["choices"] = options
    return found


def resolve_columns(kind: str, names: Sequence[str], given: Mapping[str, str | list[str]] | None) -> Columns:
    """The mapping to use: what is given wins over what is found. Raises ImportRefused naming what is missing.

    A field that is given an empty column has none, even if a column bears its name.
    """
    fields = fields_of(kind)
    problems = []
    chosen: Columns = {field: column for field, column in (given or {}).items() if column}
    none: Columns = {field: "" for field, column in (given or {}).items() if not column and field in fields}
    for field, column in chosen.items():
        if field not in fields:
            problems.append(
                Problem(f"columns.{field}", f"{kind} rows have no field {field!r}; use {', '.join(fields)}.")
            )
        for name in [column] if isinstance(column, str) else column:
            if name not in names:
                there = ", ".join(names[:20]) or "none"
                problems.append(Problem(f"columns.{field}", f"The file has no column {name!r}; it has {there}."))
    if not problems:
        spoken_for = {name for column in chosen.values() for name in ([column] if isinstance(column, str) else column)}
        rest = [name for name in names if name not in spoken_for]
        if kind == "chat" and "messages" not in chosen and chosen.keys() & set(ROW_MODELS[kind].loose):
            rest = [
                name for name in rest if name.strip().lower() not in {"messages", *ROW_MODELS[kind].aliases["messages"]}
            ]
        if not (kind == "chat" and "messages" in chosen):
            found = detect_columns(kind, rest)
            chosen = {field: column for field, column in found.items() if field not in none} | chosen
        elif "tools" in rest:
            chosen.setdefault("tools", "tools")
        problems = _find_missing(kind, names, chosen)
    if problems:
        raise ImportRefused(problems)
    return chosen | none


def _find_missing(kind: str, names: Sequence[str], chosen: Columns) -> list[Problem]:
    if kind == "chat" and "messages" not in chosen and {"user", "assistant"} <= chosen.keys():
        return []
    there = ", ".join(names[:20]) or "none"
    more = " or of user and assistant" if kind == "chat" else ""
    return [
        Problem(f"columns.{field}", f"No column for {field}{more} was found among {there}; say which one it is.")
        for field in ROW_MODELS[kind].required
        if field not in chosen
    ]


def map_row(kind: str, row: dict[str, Any], columns: Columns, *, cells: bool) -> dict[str, Any]:
    """The row under the names of its fields; columns that no field takes keep their names.

    `cells`: the values are cells of a CSV file, all text; structured fields are then read as JSON and an empty cell
    of an optional field is a field that was not given.
    """
    taken = {name for column in columns.values() for name in ([column] if isinstance(column, str) else column)}
    content = {name: value for name, value in row.items() if name not in taken}
    for field, column in columns.items():
        value: Any
        if not column:
            content.pop(field, None)
            continue
        if isinstance(column, list):
            value = [row[name] for name in column if row.get(name) not in (None, "")]
        else:
            value = row.get(column)
        if value is None or (cells and value == ""):
            continue
        if cells and field in STRUCTURED and isinstance(value, str):
            value = _parse_cell(field, value)
        if field in content:
            raise RowError(f"has both a column {field!r} and the column {column!r} mapped to it; leave one out")
        content[field] = value
    return ROW_MODELS[kind].put_together(content)


def _parse_cell(field: str, text: str) -> Any:
    try:
        return parse_object(f'{{"cell":{text}}}')["cell"]
    except RowError:
        raise RowError(f"{field} is not a JSON list: {text[:60]!r}") from None
