"""The contract's JSON schema as the form sees it: fields with a shape, their limits and defaults."""

import functools
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from trainer.contract import Recipe, stage_kinds


class Shape(Enum):
    SCALAR = "scalar"
    SCALARS = "scalars"
    """A list of words or numbers."""
    GROUP = "group"
    GROUPS = "groups"
    """A list of groups."""
    KINDS = "kinds"
    """A list of groups of several kinds, each kind with fields of its own."""
    STAGES = "stages"
    OTHER = "other"
    """Nothing the form can show; such a field is changed in the text."""


@dataclass(frozen=True)
class Field:
    name: str
    shape: Shape
    schema: dict[str, Any]
    """Without `null` and with references followed; for lists, of the item."""
    required: bool
    nullable: bool
    default: Any
    description: str

    @property
    def label(self) -> str:
        return self.name.replace("_", " ").capitalize()


@functools.cache
def _root() -> dict[str, Any]:
    return Recipe.model_json_schema()


def recipe_fields() -> list[Field]:
    return [replace(one, shape=Shape.STAGES) if one.name == "stages" else one for one in _fields_of(_root())]


def stage_fields(kind: str) -> list[Field] | None:
    """Fields of a stage, its name first; None for a kind the contract does not know."""
    mapping = _root()["properties"]["stages"]["items"]["discriminator"]["mapping"]
    if kind not in mapping:
        return None
    fields = [field for field in _fields_of(_follow({"$ref": mapping[kind]})) if field.name != "kind"]
    return sorted(fields, key=lambda field: field.name != "name")


def entry_kinds(field: Field) -> dict[str, str]:
    """Kinds that the entries of a list may have, with what each is."""
    mapping = field.schema["discriminator"]["mapping"]
    return {kind: _follow({"$ref": found}).get("description", "") for kind, found in sorted(mapping.items())}


def entry_fields(field: Field, kind: str) -> list[Field] | None:
    """Fields of an entry, required ones first; None for a kind the contract does not know."""
    mapping = field.schema["discriminator"]["mapping"]
    if kind not in mapping:
        return None
    fields = [one for one in _fields_of(_follow({"$ref": mapping[kind]})) if one.name != "kind"]
    return sorted(fields, key=lambda one: not one.required)


def stage_description(kind: str) -> str:
    return (stage_kinds()[kind].__doc__ or "").strip()


def names_model(kind: str, field: str) -> bool:
    """Whether the field of a stage of this kind names a model of the project."""
    return kind in stage_kinds() and field in stage_kinds()[kind].names_models


def group_fields(field: Field) -> list[Field]:
    return _fields_of(field.schema)


def _follow(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        found = _root()["$defs"][schema["$ref"].rsplit("/", 1)[1]]
        schema = {**found, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def _fields_of(schema: dict[str, Any]) -> list[Field]:
    required = set(schema.get("required", ()))
    return [_read(name, part, name in required) for name, part in schema.get("properties", {}).items()]


def _read(name: str, part: dict[str, Any], required: bool) -> Field:
    options = [option for option in part.get("anyOf", [part]) if option.get("type") != "null"]
    nullable = len(options) < len(part.get("anyOf", [part]))
    schema = _follow(options[0]) if len(options) == 1 else {}
    shape = _shape_of(schema)
    if shape in (Shape.SCALARS, Shape.GROUPS, Shape.KINDS):
        schema = _follow(schema["items"])
    return Field(
        name=name,
        shape=shape,
        schema=schema,
        required=required,
        nullable=nullable,
        default=part.get("default"),
        description=part.get("description", ""),
    )


def _shape_of(schema: dict[str, Any]) -> Shape:
    kind = schema.get("type")
    if "enum" in schema or kind in ("string", "integer", "number", "boolean"):
        return Shape.SCALAR
    if kind == "object" and "properties" in schema:
        return Shape.GROUP
    if kind == "array":
        item = _follow(schema.get("items", {}))
        if "discriminator" in item:
            return Shape.KINDS
        inner = _shape_of(item)
        return {Shape.SCALAR: Shape.SCALARS, Shape.GROUP: Shape.GROUPS}.get(inner, Shape.OTHER)
    return Shape.OTHER
