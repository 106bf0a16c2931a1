"""Trying a tool by hand: a form from the tool's own schema, one call, and what came back, as data."""

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.conf import settings
from pydantic import ValidationError

from chanote.tools.client import ServiceFailed, ask
from chanote.tools.endpoints import find_endpoint
from chanote.tools.health import CODE_TOOLS, Health
from toolsandbox.contract import CallReply, CallRequest
from trainer.contract.toolsets import ToolLimits

PROGRAMS = ("code", "tests")
"""Arguments that hold a program, written in many lines of even width."""
SENTENCES = ("query",)
MOST_CHARACTERS = 200_000
SHOWN_CHARACTERS = 40_000
"""Of an answer; a page stays a page whatever a program prints."""
EXAMPLES = {
    "run_python": {"code": "print(sum(range(10)))"},
    "run_tests": {"code": "def add(a, b):\n    return a + b", "tests": "assert add(1, 2) == 3\nassert add(0, 0) == 0"},
}


@dataclass(frozen=True)
class Argument:
    """One field of the form. `kind`: line, lines, program, number, choice or flag."""

    name: str
    kind: str
    hint: str
    required: bool
    value: str = ""
    choices: tuple[str, ...] = ()
    whole: bool = False
    error: str = ""

    @property
    def label(self) -> str:
        return self.name.replace("_", " ").capitalize()

    @property
    def rows(self) -> int:
        return min(24, max(8 if self.kind == "program" else 2, self.value.count("\n") + 2))


@dataclass(frozen=True)
class Outcome:
    """What one call came to. `fault` is a sentence where the tool gave no answer."""

    tool: str
    status: str = ""
    text: str = ""
    wall_ms: float = 0.0
    queue_ms: float = 0.0
    round_ms: float = 0.0
    fault: str = ""
    cut: int = 0
    """Characters that are not shown."""
    truncated: bool = False
    retryable: bool = False
    details: str = ""
    """Everything else of the answer, as JSON."""
    details_cut: bool = False


def list_arguments(function: Mapping[str, Any], given: Mapping[str, str]) -> list[Argument]:
    """Fields of a tool's form in the order of its schema, with what was typed."""
    parameters = function.get("parameters") or {}
    required = set(parameters.get("required") or ())
    tool = str(function.get("name"))
    return [
        _make_argument(name, schema, required=name in required, value=given.get(name))
        if given
        else _make_argument(name, schema, required=name in required, value=EXAMPLES.get(tool, {}).get(name))
        for name, schema in (parameters.get("properties") or {}).items()
    ]


def _make_argument(name: str, schema: Mapping[str, Any], *, required: bool, value: str | None) -> Argument:
    kinds = {"integer": "number", "number": "number", "boolean": "flag"}
    kind = kinds.get(str(schema.get("type")), "line")
    if "enum" in schema:
        kind = "choice"
    elif kind == "line" and name in PROGRAMS:
        kind = "program"
    elif kind == "line" and name in SENTENCES:
        kind = "lines"
    choices = tuple(str(one) for one in schema.get("enum") or ())
    whole = schema.get("type") == "integer"
    return Argument(name, kind, str(schema.get("description", "")), required, value or "", choices, whole)


def read_arguments(arguments: list[Argument], limits: ToolLimits) -> tuple[dict[str, Any], list[Argument]]:
    """Values as the tool takes them, and the fields again with what is wrong in them. Empty optional ones are left out.

    The tool itself judges the values; here only what cannot be sent is refused.
    """
    values: dict[str, Any] = {}
    checked = []
    for one in arguments:
        text, error = one.value.replace("\r\n", "\n"), ""
        if one.kind == "flag":
            values[one.name] = text == "on"
        elif not text.strip():
            error = f"Write the {one.label.lower()}." if one.required else ""
        elif len(text) > MOST_CHARACTERS:
            error = f"has {len(text):,} characters; at most {MOST_CHARACTERS:,} are sent."
        elif one.kind == "number":
            number = _read_number(text, whole=one.whole)
            if number is None:
                error = "must be a whole number." if one.whole else "must be a number."
            else:
                values[one.name] = number
        else:
            values[one.name] = text if one.kind in ("program", "lines") else text.strip()
        if one.name == "top_k" and isinstance(values.get("top_k"), int) and values["top_k"] > limits.top_k:
            error = f"is above {limits.top_k}, the limit here."
        checked.append(Argument(**{**vars(one), "value": text, "error": error}))
    return values, checked


def _read_number(text: str, *, whole: bool) -> int | float | None:
    try:
        return int(text[:40]) if whole else float(text[:40])
    except ValueError:
        return None


def call_tool(
    health: Health, tool: str, values: dict[str, Any], *, limits: ToolLimits, session: str | None = None
) -> Outcome:
    """One call. Never raises for what the service or the tool did."""
    endpoint = find_endpoint(health.address)
    if endpoint is None:
        return Outcome(tool, fault=health.sentence)
    try:
        request = CallRequest(arguments=values, session=session)
    except ValidationError as error:
        return Outcome(tool, fault=f"The arguments cannot be sent: {error.errors()[0]['msg']}.")
    started = time.monotonic()
    try:
        reply = ask(
            endpoint,
            f"/v1/tools/{quote(tool, safe='')}",
            request.model_dump(mode="json", exclude_none=True),
            seconds=limits.call_seconds,
        )
        if reply.status != 200:
            return Outcome(tool, fault=_word_refusal(tool, health, reply.status, reply.refusal))
        answered = CallReply.model_validate(reply.body)
    except ServiceFailed as failed:
        return Outcome(tool, fault=str(failed))
    except ValidationError:
        return Outcome(tool, fault=f"What {health.address} answered is no reply of a tool; its version may differ.")
    round_ms = (time.monotonic() - started) * 1e3
    result = answered.result
    shown = min(SHOWN_CHARACTERS, limits.output_characters)
    rest = {
        name: value
        for name, value in reply.body["result"].items()
        if name not in {"status", "text", "retryable", "truncated", "wall_ms", "queue_ms"}
    }
    details = json.dumps(rest, ensure_ascii=False, indent=1) if any(rest.values()) else ""
    return Outcome(
        tool,
        status=result.status,
        text=result.text[:shown],
        wall_ms=result.wall_ms,
        queue_ms=result.queue_ms,
        round_ms=round_ms,
        cut=max(0, len(result.text) - shown),
        truncated=result.truncated,
        retryable=result.retryable,
        details=details[:SHOWN_CHARACTERS],
        details_cut=len(details) > SHOWN_CHARACTERS,
    )


def _word_refusal(tool: str, health: Health, status: int, said: str) -> str:
    if status == 503:
        reason = health.code_reason if tool in CODE_TOOLS and health.code_reason else f"unavailable: {said}"
        return f"{tool} answers “{reason}”."
    if status == 429:
        return f"The tool service is full ({said or 'overloaded'}); try again in a moment."
    if status == 404:
        return f"The tool service at {health.address} does not offer {tool}."
    return f"The tool service refused the call with status {status}{f': {said}' if said else ''}."


def name_session(user: Any, project: Any) -> str:
    """The session of one person in one project, which nobody else can guess or name."""
    secret = settings.SECRET_KEY.encode()
    return "playground-" + hmac.new(secret, f"{project.pk}:{user.pk}".encode(), hashlib.sha256).hexdigest()[:40]
