"""The OpenAPI document of the native endpoints, made from the contract's own models."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from toolsandbox.contract import CallRequest
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
    "400": "The body is not a call",
    "401": "No token, or an unknown one",
    "409": "The idempotency key was used for other arguments",
    "413": "The body is too large",
    "429": "The queue is full; Retry-After says when to ask again",
    "503": "The tool cannot run here; Retry-After says when to ask again",
}


def describe_service(tools: Iterable[Tool]) -> dict[str, Any]:
    tools = list(tools)
    asked: dict[type[BaseModel], None] = dict.fromkeys([CallRequest, *(tool.arguments for tool in tools)])
    answered: dict[type[BaseModel], None] = dict.fromkeys(tool.reply for tool in tools)
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        *((model, "validation") for model in asked),
        *((model, "serialization") for model in answered),
    ]
    _, definitions = models_json_schema(modes, ref_template=REFERENCE)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Chanote tool sandbox", "version": "1"},
        "paths": {
            "/v1/tools": {"get": {"summary": "Tools as OpenAI function schemas", "responses": {"200": _json({})}}},
            **{f"/v1/tools/{tool.name}": {"post": _describe_call(tool)} for tool in tools},
        },
        "components": {
            "schemas": {**definitions["$defs"], "Error": ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


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
    failures = {code: {**_json(_refer("Error")), "description": reason} for code, reason in FAILURES.items()}
    return {
        "operationId": tool.name,
        "summary": tool.description,
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": {"200": {**_json(reply), "description": "How the call ended"}, **failures},
    }


def _refer(model: str) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=model)}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "", "content": {"application/json": {"schema": schema}}}
