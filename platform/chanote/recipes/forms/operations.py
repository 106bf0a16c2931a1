"""What the buttons of the form do to a recipe's data: add, remove and move stages and entries."""

import copy
from typing import Any

from chanote.recipes.checking import read_path
from chanote.recipes.forms.schema import Field, Shape, entry_fields, group_fields, stage_fields

FIRST_STEPS = 100
"""Steps of a stage that was just added: short enough to try."""


def apply_operation(data: Any, operation: str) -> dict[str, Any] | None:
    """The data after `verb:path`; None when the button does not fit the data any more."""
    data = copy.deepcopy(data) if isinstance(data, dict) else {}
    verb, _, where = operation.partition(":")
    if verb == "add-stage":
        stage = new_stage(where)
        if stage is None:
            return None
        stages = data.get("stages")
        data["stages"] = [*(stages if isinstance(stages, list) else []), stage]
        return data
    kind = ""
    if verb == "add-entry":
        kind, _, where = where.partition(":")
    path = read_path(where)
    try:
        holder = data
        for part in path[:-1]:
            holder = holder.setdefault(part, {}) if isinstance(holder, dict) else holder[part]
        if verb == "add-entry":
            _add_entry(holder, path[-1], kind)
        else:
            _VERBS[verb](holder, path[-1])
    except (KeyError, IndexError, TypeError, AttributeError):
        return None
    return data


def new_stage(kind: str) -> dict[str, Any] | None:
    """The least that a stage of the kind needs, with blanks to fill."""
    fields = stage_fields(kind)
    if fields is None:
        return None
    stage: dict[str, Any] = {"kind": kind}
    stage |= {field.name: _blank(field) for field in fields if field.required}
    if any(field.name == "steps" for field in fields):
        stage["steps"] = FIRST_STEPS
    return stage


def _blank(field: Field) -> Any:
    if field.shape is Shape.GROUPS:
        return [{inner.name: _blank(inner) for inner in group_fields(field) if inner.required}]
    if field.shape is Shape.GROUP:
        return {inner.name: _blank(inner) for inner in group_fields(field) if inner.required}
    return [] if field.shape in (Shape.SCALARS, Shape.KINDS) else ""


def _add(holder: Any, name: Any) -> None:
    entries = holder.get(name)
    blank = {"at": "", "weight": ""} if name == "changes" else {"dataset": ""}
    holder[name] = [*(entries if isinstance(entries, list) else []), blank]


def _add_entry(stage: Any, name: Any, kind: str) -> None:
    """Raises KeyError for a list or a kind that the stage's form does not have."""
    listed = {field.name: field for field in stage_fields(stage["kind"]) or () if field.shape is Shape.KINDS}
    fields = entry_fields(listed[name], kind)
    if fields is None:
        raise KeyError(kind)
    entries = stage.get(name)
    blank = {"kind": kind} | {field.name: _blank(field) for field in fields if field.required}
    stage[name] = [*(entries if isinstance(entries, list) else []), blank]


def _remove(holder: Any, place: Any) -> None:
    del holder[place]


def _up(holder: Any, place: Any) -> None:
    if place > 0:
        holder[place - 1], holder[place] = holder[place], holder[place - 1]


def _down(holder: Any, place: Any) -> None:
    if place < len(holder) - 1:
        holder[place + 1], holder[place] = holder[place], holder[place + 1]


def _set(holder: Any, name: Any) -> None:
    holder[name] = {}


_VERBS = {"add": _add, "remove": _remove, "up": _up, "down": _down, "set": _set, "unset": _remove}
