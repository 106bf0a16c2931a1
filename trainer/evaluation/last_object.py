"""The JSON object that an answer ends with, whatever is written around it."""

import json
from collections.abc import Callable
from typing import Any

LOOKED_AT = 50_000
"""Characters at the end of an answer. Every opening brace begins anew, so hostile text would need the square of its
length."""


def find_last_object(text: str, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
    """The last one that fits; objects within an object are not looked at. None too where nesting has no end."""
    text = text[-LOOKED_AT:]
    decoder = json.JSONDecoder()
    found = None
    place = text.find("{")
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except RecursionError:
            return None
        except ValueError:
            end = place + 1
        else:
            if isinstance(value, dict) and fits(value):
                found = value
        place = text.find("{", end)
    return found
