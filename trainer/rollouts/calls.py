"""Tool calls as a policy writes them, read from its text.

Two forms are known, both between `<tool_call>` and `</tool_call>`: one JSON object with `name` and `arguments` (Hermes,
Qwen 2.5 and 3), and `<function=name>` with `<parameter=name>` elements (Qwen 3 Coder). What stands in thoughts is no
call. A call that cannot be read is a call all the same: it is answered with what is wrong with it.
"""

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any

THOUGHTS_END = "</think>"
CALL_BEGINS = "<tool_call>"
_CALL = re.compile(r"<tool_call>(.*?)(</tool_call>|(?=<tool_call>)|\Z)", re.DOTALL)
_FUNCTION = re.compile(r"\s*<function=([^>\s]*)>(.*?)(?:</function>)?\s*\Z", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\s]*)>\n?(.*?)\n?</parameter>", re.DOTALL)
SHOWN = 200
"""Characters of a name or of arguments that an answer repeats."""


@dataclass(frozen=True)
class Call:
    """One call of a turn."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    fault: str = ""
    """Why it cannot be made, for the policy to read; empty when it can."""
    written: str = ""
    """What the policy wrote between the tags."""


def read_calls(text: str, tools: dict[str, dict[str, Any]]) -> list[Call]:
    """The calls of one turn in their order. `tools`: name → JSON schema of the arguments (`parameters`)."""
    _, _, said = text.rpartition(THOUGHTS_END)
    return [_read(match[1], closed=bool(match[2]), tools=tools) for match in _CALL.finditer(said)]


def read_offered(name: object, arguments: object, tools: dict[str, dict[str, Any]]) -> Call:
    """A call that came with its name and its arguments apart, as endpoints give them: the latter a JSON text."""
    read = _read(json.dumps({"name": name, "arguments": arguments}), closed=True, tools=tools)
    return replace(read, written=arguments if isinstance(arguments, str) else json.dumps(arguments))


def final_answer(text: str) -> str:
    """What a turn says, without its thoughts."""
    return text.rpartition(THOUGHTS_END)[2].strip()


def _read(written: str, *, closed: bool, tools: dict[str, dict[str, Any]]) -> Call:
    if not closed:
        return Call("", fault="the call is not closed; end it with </tool_call>", written=written)
    function = _FUNCTION.match(written)
    call = _from_elements(function, written, tools) if function else _from_json(written)
    if not _can_be_sent(call):
        return Call("", fault="the call holds a number or a character that JSON does not have", written=written)
    if call.fault or call.name in tools:
        return call
    offered = ", ".join(tools) or "none"
    return Call(
        call.name,
        call.arguments,
        fault=f"there is no tool {call.name[:SHOWN]!r}; the tools are: {offered}",
        written=written,
    )


def _can_be_sent(call: Call) -> bool:
    """Python reads NaN, and halves of characters such as \\ud800, which nobody else does."""
    try:
        json.dumps([call.name, call.arguments], ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return False
    return True


def _from_json(written: str) -> Call:
    try:
        found = json.loads(written)
    except ValueError as error:
        return Call("", fault=f"the call is not valid JSON ({_where(error)})", written=written)
    except RecursionError:
        return Call("", fault="the call is nested too deeply", written=written)
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        return Call("", fault='a call is one JSON object with "name" and "arguments"', written=written)
    arguments = found.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            return Call(found["name"], fault="arguments is a text that is not valid JSON", written=written)
    if not isinstance(arguments, dict):
        return Call(found["name"], fault="arguments is not a JSON object", written=written)
    return Call(found["name"], arguments, written=written)


def _from_elements(function: re.Match[str], written: str, tools: dict[str, dict[str, Any]]) -> Call:
    """Values are text; the tool's schema says which of them are numbers or the like."""
    properties = tools.get(function[1], {}).get("properties", {})
    arguments = {
        name: _typed(value, properties.get(name, {}).get("type", "string"))
        for name, value in _PARAMETER.findall(function[2])
    }
    return Call(function[1], arguments, written=written)


def _typed(value: str, kind: str) -> Any:
    if kind == "string":
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _where(error: ValueError) -> str:
    return f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else "unreadable"
