"""What every operation of the OpenAPI description has in common: its errors."""

from typing import Any

from chanote.api.errors import MEDIA_TYPE, TITLES

ALWAYS = (400, 401, 403, 404, 406, 429)
WITH_BODY = (409, 413, 415, 422)
COMPONENT = "ProblemAnswer"


def describe_errors(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Postprocessing hook of drf-spectacular: add the shape of errors and the answers that any operation may give."""
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    text = {"type": "string"}
    schemas.setdefault("ProblemItem", _object({"field": text, "message": text}))
    schemas[COMPONENT] = _object(
        {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What is wrong and the way out, in a sentence."},
            "problems": {"type": "array", "items": {"$ref": "#/components/schemas/ProblemItem"}},
        }
    )
    content = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{COMPONENT}"}}}
    for path in result["paths"].values():
        for method, operation in path.items():
            for status in ALWAYS if method == "get" else (*ALWAYS, *WITH_BODY):
                operation["responses"].setdefault(str(status), {"description": TITLES[status], "content": content})
    schemas[COMPONENT]["description"] = "Every error answer, after RFC 9457."
    return result


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}
