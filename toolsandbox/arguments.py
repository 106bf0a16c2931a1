"""From what a policy wrote to checked arguments, or to one text that tells it what to write instead."""

import json
from typing import Any

from pydantic import TypeAdapter, ValidationError

from toolsandbox.contract import ToolArguments
from toolsandbox.tools import Tool

_OBJECT = TypeAdapter(dict[str, Any])


class BadArguments(Exception):
    """The message is for the policy: which argument, what is wrong, what the tool takes."""


def read_arguments(tool: Tool, written: dict[str, Any] | str) -> ToolArguments:
    """Raises `BadArguments`. Strings are read as numbers where a number is asked for; nothing else is guessed."""
    try:
        values = written if isinstance(written, dict) else _OBJECT.validate_json(written or "{}")
        return tool.arguments.model_validate(values)
    except ValidationError as error:
        raise BadArguments(f"{tool.name}: {_describe(error)}. {_usage(tool)}") from error


def _describe(error: ValidationError) -> str:
    faults = []
    for fault in error.errors(include_url=False, include_input=False)[:5]:
        name = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "json_invalid":
            faults.append("the arguments are not valid JSON")
        elif fault["type"] in {"dict_type", "model_type"}:
            faults.append("the arguments must be one JSON object")
        elif fault["type"] == "extra_forbidden":
            faults.append(f"there is no argument {name[:60]!r}")
        elif fault["type"] == "missing":
            faults.append(f"argument {name!r} is missing")
        else:
            faults.append(f"argument {name!r}: {fault['msg'][:1].lower()}{fault['msg'][1:]}")
    return "; ".join(faults)


def _usage(tool: Tool) -> str:
    example = {
        name: field.annotation.__name__ if isinstance(field.annotation, type) else "str"
        for name, field in tool.arguments.model_fields.items()
        if field.is_required()
    }
    return f"Write it as {json.dumps(example, ensure_ascii=False)}" + (
        "" if len(example) == len(tool.arguments.model_fields) else f"; optional: {_optional(tool)}"
    )


def _optional(tool: Tool) -> str:
    return ", ".join(name for name, field in tool.arguments.model_fields.items() if not field.is_required())


def function_schema(tool: Tool) -> dict[str, Any]:
    """OpenAI function schema: flat scalars, each with type and description only (and enum)."""
    schema = tool.arguments.model_json_schema()
    properties = {}
    for name, found in schema.get("properties", {}).items():
        kind = found.get("type") or next(
            option["type"] for option in found.get("anyOf", []) if option.get("type") != "null"
        )
        if kind not in {"string", "integer", "number", "boolean"}:
            raise ValueError(f"tool {tool.name}: argument {name} is a {kind}; arguments are flat scalars")
        properties[name] = {"type": kind, "description": found.get("description", "")}
        if "enum" in found:
            properties[name]["enum"] = found["enum"]
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": {"type": "object", "properties": properties, "required": schema.get("required", [])},
        },
    }
