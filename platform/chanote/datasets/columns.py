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
    # Sorted, so that the order in which a file names its columns decides nothing.
    by_name = {name.strip().lower(): name for name in sorted(names, key=_rank_spelling, reverse=True)}
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
            found["choices"] = sorted(options, key=_rank_option)
    return found


def _rank_spelling(name: str) -> tuple[bool, str]:
    """Of two names that differ in case the one in lower case comes first."""
    return name != name.strip().lower(), name


def _rank_option(name: str) -> tuple[int, str, str]:
    """Options in the order that a letter or a number as the answer counts them in."""
    found = OPTION.match(name.strip().lower())
    word = found[1] if found else ""
    return int(word) if word.isdigit() else 0, word, name


def extend_columns(
    kind: str, layout: Columns, names: Sequence[str], given: Mapping[str, str | list[str]] | None
) -> Columns:
    """The mapping with fields for columns that a file names late, as if it had named them at once.

    Raises ImportRefused where a late column would change what the rows before it became.
    """
    whole = resolve_columns(kind, names, given)
    for field, column in layout.items():
        if column and whole.get(field) != column:
            late = whole.get(field, "none")
            raise ImportRefused(
                [Problem(f"columns.{field}", f"{field} was read from {column!r}, and later rows bring {late!r}, which "
                         "would be it as well; say which column it is.")]
            )  # fmt: skip
    return whole


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
    """The row under the names of its fields; columns that no field takes keep their names. A field that is null was
    not given.

    `cells`: the values are cells of a CSV file, all text; structured fields are then read as JSON, and an empty cell is
    a field that was not given.
    """
    taken = {name for column in columns.values() for name in ([column] if isinstance(column, str) else column)}
    content = {name: value for name, value in row.items() if name not in taken and not _is_absent(value, cells)}
    for field, column in columns.items():
        value: Any
        if not column:
            content.pop(field, None)
            continue
        if isinstance(column, list):
            value = _gather_options(row, column)
        else:
            value = row.get(column)
        if _is_absent(value, cells):
            continue
        if cells and field in STRUCTURED and isinstance(value, str):
            value = _parse_cell(field, value)
        if field in content:
            raise RowError(f"has both a column {field!r} and the column {column!r} mapped to it; leave one out")
        content[field] = value
    if cells and kind == "choices":
        _refuse_two_meanings(content)
    return ROW_MODELS[kind].put_together(content)


def _is_absent(value: Any, cells: bool) -> bool:
    return value is None or (cells and value == "")


def _gather_options(row: dict[str, Any], columns: Sequence[str]) -> list[Any]:
    """Options from a column each; the last columns may be empty where a row has fewer."""
    values = [row.get(name) for name in columns]
    while values and values[-1] in (None, ""):
        values.pop()
    for name, value in zip(columns, values, strict=False):
        if value in (None, ""):
            raise RowError(f"option {name!r} is empty and a later one is not, so the answer would count wrongly")
    return values


def _refuse_two_meanings(content: dict[str, Any]) -> None:
    """A cell knows no numbers: 2 may be the option "2" or the option with the index 2."""
    answer, choices = content.get("answer"), content.get("choices")
    if not isinstance(answer, str) or not isinstance(choices, list) or choices.count(answer) != 1:
        return
    if answer.isascii() and answer.isdigit() and int(answer[:9]) != choices.index(answer):
        raise RowError(f"answer {answer[:20]!r} is an option and also the index of another; write it as a letter")


def _parse_cell(field: str, text: str) -> Any:
    try:
        parsed = parse_object(f'{{"cell":{text}}}')
    except RowError:
        parsed = {}
    if len(parsed) != 1:
        raise RowError(f"{field} is not a JSON list: {text[:60]!r}")
    return parsed["cell"]
