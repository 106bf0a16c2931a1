"""The OpenAPI document of everything that is mounted, made from the contract's and the wire formats' own models."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from starlette.routing import BaseRoute, Route

from toolsandbox.code.wire import RunCodeRequest, RunCodeResponse, RunJupyterRequest, RunJupyterResponse
from toolsandbox.contract import CallRequest, TrialReply, TrialRequest, VerifyReply, VerifyRequest
from toolsandbox.law.wire import Read, Retrieve
from toolsandbox.tools import Tool

REFERENCE = "#/components/schemas/{model}"
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
        }
    },
}
FAILURES = {
    400: "The body is not what is asked for",
    401: "No token, or an unknown one",
    404: "There is no such thing",
    409: "The idempotency key was used for other arguments",
    411: "Content-Length is missing",
    413: "The body, or the reply, is too large",
    422: "The body is not what is asked for, told as FastAPI tells it",
    429: "All places are taken; Retry-After says when to ask again",
    503: "It cannot run here, or the sandbox failed; Retry-After says when to ask again",
    504: "Overloaded, or the sandbox failed: ask again; Retry-After says when",
}
DOCUMENTS = {
    "type": "object",
    "required": ["result"],
    "properties": {"result": {"type": "array", "items": {"type": "array", "items": {"type": "object"}}}},
}
TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
ANY: dict[str, Any] = {"type": "object"}
CALL_FAILURES = (400, 401, 404, 409, 413, 429, 503)


@dataclass(frozen=True)
class Operation:
    summary: str
    asked: type[BaseModel] | None = None
    answered: type[BaseModel] | dict[str, Any] | None = None
    failures: Sequence[int] = (401,)
    success: int = 200
    media: str = "application/json"
    file: bool = False
    """The request's body is a file's bytes."""
    open: bool = False
    """Needs no token."""


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("/livez", "get"): Operation("The process lives", answered=ANY, failures=(), open=True),
    ("/readyz", "get"): Operation("Every part is ready, with its facts", answered=ANY, failures=(401, 503)),
    ("/metrics", "get"): Operation("Prometheus measures", answered={"type": "string"}, media="text/plain"),
    ("/openapi.json", "get"): Operation("This document", answered=ANY),
    ("/v1/tools", "get"): Operation("Tools as OpenAI function schemas", answered=ANY),
    ("/v1/verifiers", "post"): Operation(
        "Admit written verifiers that tell known good from known bad, and ask those that were admitted",
        VerifyRequest,
        VerifyReply,
        (400, 401, 413, 429, 503),
    ),
    ("/v1/functions", "post"): Operation(
        "What written functions answer that nobody vouches for, to find out which can be verifiers",
        TrialRequest,
        TrialReply,
        (400, 401, 413, 429, 503),
    ),
    ("/v1/sessions/{session}/files/{path}", "put"): Operation(
        "Stream a file into a session", failures=(400, 401, 411, 413, 429, 503), success=204, file=True
    ),
    ("/v1/sessions/{session}/files/{path}", "get"): Operation(
        "Stream a regular file out of a session",
        answered={"type": "string", "format": "binary"},
        failures=(401, 404, 503),
        media="application/octet-stream",
    ),
    ("/v1/sessions/{session}", "delete"): Operation("End a session", answered=ANY, failures=(401, 404, 503)),
    ("/run_code", "post"): Operation(
        "Run a program, as SandboxFusion does", RunCodeRequest, RunCodeResponse, (401, 413, 422, 503, 504)
    ),
    ("/run_jupyter", "post"): Operation(
        "Run cells in one interpreter, as SandboxFusion does",
        RunJupyterRequest,
        RunJupyterResponse,
        (401, 413, 422, 503, 504),
    ),
    ("/v1/ping", "get"): Operation("Answers pong, as SandboxFusion does", answered={"const": "pong"}),
    ("/search", "post"): Operation("Search, as Typhoon-S does", Retrieve, DOCUMENTS, (401, 413, 422)),
    ("/retrieve", "post"): Operation("Search, as Search-R1 does", Retrieve, DOCUMENTS, (401, 413, 422)),
    ("/read", "post"): Operation("Read a law, as Typhoon-S does", Read, TEXT, (401, 404, 413, 422)),
    ("/mcp", "post"): Operation("A message of the Model Context Protocol", answered=ANY, failures=(401, 413)),
    ("/mcp", "get"): Operation("The server's events", answered={"type": "string"}, media="text/event-stream"),
    ("/mcp", "delete"): Operation("End the session", failures=(401,)),
}


def list_operations(routes: Iterable[BaseRoute]) -> Iterator[tuple[str, str]]:
    """Path and method of everything that routes serve, paths as OpenAPI writes them."""
    for route in routes:
        if isinstance(route, Route):
            path = re.sub(r":\w+}", "}", route.path)
            for method in sorted(route.methods or {"GET", "POST", "DELETE"}):
                if method != "HEAD":
                    yield path, method.lower()


def describe_service(tools: Iterable[Tool], routes: Iterable[BaseRoute]) -> dict[str, Any]:
    tools = list(tools)
    paths: dict[str, dict[str, Any]] = {}
    asked: dict[type[BaseModel], None] = dict.fromkeys([CallRequest, *(tool.arguments for tool in tools)])
    answered: dict[type[BaseModel], None] = dict.fromkeys(tool.reply for tool in tools)
    for path, method in list_operations(routes):
        operation = OPERATIONS.get((path, method))
        if path == "/v1/tools/{name}":
            paths.update({f"/v1/tools/{tool.name}": {"post": _describe_call(tool)} for tool in tools})
        elif operation is not None:
            paths.setdefault(path, {})[method] = _describe(path, method, operation)
            if operation.asked is not None:
                asked[operation.asked] = None
            if isinstance(operation.answered, type):
                answered[operation.answered] = None
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        *((model, "validation") for model in asked),
        *((model, "serialization") for model in answered),
    ]
    _, definitions = models_json_schema(modes, ref_template=REFERENCE)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Chanote tool sandbox", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": {**definitions["$defs"], "Error": ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _describe(path: str, method: str, operation: Operation) -> dict[str, Any]:
    answered = operation.answered
    schema = _refer(answered.__name__) if isinstance(answered, type) else answered
    success: dict[str, Any] = {"description": operation.summary}
    if schema is not None:
        success["content"] = {operation.media: {"schema": schema}}
    described: dict[str, Any] = {
        "operationId": f"{method}{re.sub(r'[^a-zA-Z0-9]+', '_', path)}".rstrip("_"),
        "summary": operation.summary,
        "responses": {str(operation.success): success, **_describe_failures(operation.failures)},
    }
    if names := re.findall(r"{(\w+)}", path):
        described["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if operation.asked is not None:
        described["requestBody"] = _require(_refer(operation.asked.__name__))
    elif operation.file:
        described["requestBody"] = _require({"type": "string", "format": "binary"}, "application/octet-stream")
    elif method == "post":
        described["requestBody"] = _require(ANY)
    if operation.open:
        described["security"] = []
    return described


def _describe_call(tool: Tool) -> dict[str, Any]:
    reply = {
        "type": "object",
        "required": ["id", "tool", "session", "result"],
        "properties": {
            "id": {"type": "string"},
            "tool": {"const": tool.name},
            "session": {"type": ["string", "null"]},
            "result": _refer(tool.reply.__name__),
        },
    }
    arguments = {"anyOf": [_refer(tool.arguments.__name__), {"type": "string"}]}
    request = {"allOf": [_refer("CallRequest"), {"properties": {"arguments": arguments}}]}
    success = {"description": "How the call ended", "content": {"application/json": {"schema": reply}}}
    return {
        "operationId": tool.name,
        "summary": tool.description,
        "requestBody": _require(request),
        "responses": {"200": success, **_describe_failures(CALL_FAILURES)},
    }


def _describe_failures(codes: Sequence[int]) -> dict[str, Any]:
    content = {"application/json": {"schema": _refer("Error")}}
    told = {str(code): {"description": FAILURES[code], "content": content} for code in codes}
    if "422" in told:
        told["422"] = {"description": FAILURES[422], "content": {"application/json": {"schema": ANY}}}
    return told


def _require(schema: dict[str, Any], media: str = "application/json") -> dict[str, Any]:
    return {"required": True, "content": {media: {"schema": schema}}}


def _refer(model: str) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=model)}
