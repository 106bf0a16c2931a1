"""What a posted form means, as the sparse data of a recipe.

Names of inputs are the paths of problems: `stages[0].data[1].dataset`. A field is left out where it holds its default,
kept exactly as the text has it where the form did not change it, and kept as typed where it is no number, so that
nothing typed is lost.
"""

import re
from collections.abc import Callable
from typing import Any

from django.http import QueryDict

from chanote.recipes.forms.schema import Field, Shape, entry_fields, group_fields, recipe_fields, stage_fields

MAXIMUM_ENTRIES = 100
_WHOLE = re.compile(r"[+-]?\d+\Z")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")


def read_form(post: QueryDict, old: Any) -> dict[str, Any]:
    """The data of the form; `old` is the data of the text that the form was shown with."""
    return _read_group(post, "", recipe_fields(), old)


def show(value: Any) -> str:
    """A value as an input shows it."""
    if value is None or isinstance(value, dict | list):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value).strip("\n")


def convert(raw: str, schema: dict[str, Any]) -> Any:
    """A typed value; the text itself where it is no value of the type, for validation to object to."""
    kind = schema.get("type")
    compact = raw.replace(",", "").replace(" ", "").replace("\N{MINUS SIGN}", "-")
    if kind in ("integer", "number") and _WHOLE.match(compact):
        return int(compact)
    if kind == "number" and _NUMBER.match(compact):
        return float(compact)
    if kind == "boolean" and raw in ("true", "false"):
        return raw == "true"
    return raw


def count_entries(post: QueryDict, path: str) -> list[int]:
    """Numbers of the entries of a list that the form holds, in order."""
    pattern = re.compile(re.escape(path) + r"\[(\d{1,4})\][.]")
    found = {int(match[1]) for name in post if (match := pattern.match(name))}
    return sorted(found)[:MAXIMUM_ENTRIES]


def _read_group(post: QueryDict, prefix: str, fields: list[Field], old: Any) -> dict[str, Any]:
    old = old if isinstance(old, dict) else {}
    found: dict[str, Any] = {}
    for field in fields:
        path = f"{prefix}.{field.name}" if prefix else field.name
        _READERS[field.shape](post, path, field, old, found)
    # Fields that the form does not know stay; validation speaks of them.
    known = {field.name for field in fields}
    found |= {name: value for name, value in old.items() if name not in known}
    order = [*(name for name in old if name in found), *(name for name in found if name not in old)]
    return {name: found[name] for name in order}


def _put(field: Field, old: dict[str, Any], found: dict[str, Any], value: Any, empty: bool) -> None:
    """Leave out what is empty or has become the default; write out what people wrote out."""
    if empty and not field.required:
        return
    same = value == field.default and isinstance(value, bool) == isinstance(field.default, bool)
    if same and not field.required:
        return
    found[field.name] = value


def _read_scalar(post: QueryDict, path: str, field: Field, old: dict[str, Any], found: dict[str, Any]) -> None:
    raw = post.get(path)
    if raw is None:
        _keep(field, old, found)
        return
    raw = raw.replace("\r\n", "\n")
    if field.name in old and show(old[field.name]) == raw.strip("\n"):
        found[field.name] = old[field.name]
    else:
        _put(field, old, found, convert(raw.strip(), field.schema), empty=not raw.strip())


def _read_scalars(post: QueryDict, path: str, field: Field, old: dict[str, Any], found: dict[str, Any]) -> None:
    if f"{path}.shown" not in post:
        _keep(field, old, found)
        return
    lines = [line.strip() for raw in post.getlist(path) for line in raw.splitlines()]
    given = [convert(line, field.schema) for line in lines if line][:MAXIMUM_ENTRIES]
    before = old.get(field.name)
    before = before if isinstance(before, list) else []
    # Ticked boxes come in the page's order; those that stood there before keep theirs.
    values = [value for value in before if value in given] + [value for value in given if value not in before]
    _put(field, old, found, values, empty=not values)


def _read_inner(post: QueryDict, path: str, field: Field, old: dict[str, Any], found: dict[str, Any]) -> None:
    if field.nullable and f"{path}.shown" not in post:
        return
    if not any(name.startswith(f"{path}.") for name in post):
        _keep(field, old, found)
        return
    value = _read_group(post, path, group_fields(field), old.get(field.name))
    if value or field.nullable or old.get(field.name) == {}:
        found[field.name] = value


def _read_groups(post: QueryDict, path: str, field: Field, old: dict[str, Any], found: dict[str, Any]) -> None:
    if f"{path}.shown" not in post:
        _keep(field, old, found)
        return
    before = old.get(field.name)
    before = before if isinstance(before, list) else []
    values = []
    for number in count_entries(post, path):
        entry = before[number] if number < len(before) else None
        values.append(_read_group(post, f"{path}[{number}]", group_fields(field), entry))
    _put(field, old, found, values, empty=not values)


def _read_stages(post: QueryDict, path: str, field: Field, old: dict[str, Any], found: dict[str, Any]) -> None:
    stages = _read_entries(post, path, stage_fields, old.get(field.name))
    if stages or field.name in old:
        found[field.name] = stages


def _read_kinds(post: QueryDict, path: str, field: Field, old: dict[str, Any], found: dict[str, Any]) -> None:
    if f"{path}.shown" not in post:
        _keep(field, old, found)
        return
    entries = _read_entries(post, path, lambda kind: entry_fields(field, kind), old.get(field.name))
    _put(field, old, found, entries, empty=not entries)


def _read_entries(post: QueryDict, path: str, fields_of: Callable[[str], list[Field] | None], old: Any) -> list[Any]:
    before = old if isinstance(old, list) else []
    entries = []
    for number in count_entries(post, path):
        kind = post.get(f"{path}[{number}].kind", "")
        entry = before[number] if number < len(before) else None
        fields = fields_of(kind)
        if fields is None:
            # The form cannot show this one; what the text says of it stays.
            entries.append(entry)
            continue
        kept = entry if isinstance(entry, dict) else {}
        entries.append({"kind": kind} | _read_group(post, f"{path}[{number}]", fields, {"kind": kind} | kept))
    return entries


def _keep(field: Field, old: dict[str, Any], found: dict[str, Any]) -> None:
    if field.name in old:
        found[field.name] = old[field.name]


_Reader = Callable[[QueryDict, str, Field, dict[str, Any], dict[str, Any]], None]
_READERS: dict[Shape, _Reader] = {
    Shape.SCALAR: _read_scalar,
    Shape.SCALARS: _read_scalars,
    Shape.GROUP: _read_inner,
    Shape.GROUPS: _read_groups,
    Shape.KINDS: _read_kinds,
    Shape.STAGES: _read_stages,
    Shape.OTHER: lambda _post, _path, field, old, found: _keep(field, old, found),
}
