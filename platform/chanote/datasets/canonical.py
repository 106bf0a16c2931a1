"""Canonical rows: the one spelling of a row that its dataset's hash is taken over."""

import json
from typing import Any

from pydantic import ValidationError

from chanote.datasets.errors import RowError
from chanote.datasets.kinds import RowModel

DEEPEST = 32
"""Levels of nesting that a row may have."""
LONGEST = 16 * 1024 * 1024
"""Bytes that one row may have."""


def encode_row(content: dict[str, Any]) -> bytes:
    """One line: keys sorted, no spaces, UTF-8, a line feed at the end. Raises RowError for what JSON cannot say."""
    try:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
        line = text.encode("utf-8")
    except UnicodeEncodeError:
        raise RowError("holds half of a surrogate pair, which is no character; write the text as UTF-8") from None
    except (ValueError, RecursionError):
        raise RowError("holds a number that is not finite (NaN or infinite); leave the field out or use null") from None
    if "\\u0000" in text and _holds_nul(content):
        raise RowError("holds a NUL character; remove it")
    if len(line) > LONGEST:
        raise RowError(f"is longer than {LONGEST // 2**20} MiB; split it")
    return line + b"\n"


def check_row(row_model: type[RowModel], content: dict[str, Any]) -> RowModel:
    """The row, its known fields checked. Raises RowError with every reason."""
    if too_deep(content):
        raise RowError(f"is nested deeper than {DEEPEST} levels")
    try:
        return row_model.model_validate(content)
    except ValidationError as error:
        raise RowError(word_reasons(error)) from None


def word_reasons(error: ValidationError) -> str:
    reasons = []
    for item in error.errors(include_url=False, include_context=False)[:5]:
        path = ""
        for part in item["loc"]:
            path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
        reason = WORDS.get(item["type"]) or item["msg"].removeprefix("Value error, ")
        if item["type"] == "literal_error":
            reason = f"is {str(item['input'])[:40]!r}; {reason[0].lower()}{reason[1:]}"
        reasons.append(f"{path} {reason}".strip())
    return "; ".join(reasons)


WORDS = {
    "missing": "is missing",
    "too_short": "has too few entries",
    "greater_than_equal": "is below 0",
    "string_type": "is not text",
    "int_type": "is not a whole number",
    "list_type": "is not a list",
    "dict_type": "is not an object",
    "model_type": "is not an object",
    "model_attributes_type": "is not an object",
}
"""pydantic's error type → what a person reads."""


def too_deep(value: Any) -> bool:
    """Whether lists and objects lie in each other more than DEEPEST levels."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_holds_nul(key) or _holds_nul(inner) for key, inner in value.items())
    return isinstance(value, list) and any(_holds_nul(inner) for inner in value)
