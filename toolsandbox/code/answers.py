"""What a call of a code tool answers, by the contract's own types, and how a program's own answer is read."""

import json
from typing import Any

from toolsandbox.contract import CaseVerdict, CodeAnswer, TestsAnswer, ValueAnswer

__all__ = ["CaseVerdict", "CodeAnswer", "TestsAnswer", "ValueAnswer", "read_told"]


def read_told(raw: bytes) -> dict[str, Any] | None:
    """What a program sent as its answer: an object of strict JSON in text that can be sent on; anything else is None.

    The program may have forged it. Lone surrogates would break the reply that carries them.
    """
    try:
        told = json.loads(raw, parse_constant=_refuse_constant)
        json.dumps(told, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
