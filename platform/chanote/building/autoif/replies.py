"""Reading what a model wrote: thoughts aside, JSON wherever it stands, lists line by line."""

import json
import re
from typing import Any

THOUGHTS = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
BULLET = re.compile(r"^\s*(?:[-*•–—]|\(?[0-9๐-๙]{1,3}[.)])\s+")
MOST_STARTS = 50
"""Opening braces at which a JSON object is looked for."""


def drop_thoughts(text: str) -> str:
    return THOUGHTS.sub("", text).strip()


def find_object(text: str) -> dict[str, Any] | None:
    """The first JSON object of a reply, in a fence or bare; None where there is none."""
    text = drop_thoughts(text)
    for candidate in [*FENCE.findall(text), text]:
        decoder = json.JSONDecoder()
        for found in list(re.finditer(r"\{", candidate))[:MOST_STARTS]:
            try:
                value, _ = decoder.raw_decode(candidate, found.start())
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                return value
    return None


def list_lines(text: str) -> list[str]:
    """Lines of a list without bullets, numbers and surrounding marks; headings and empty lines left out."""
    lines = []
    for line in drop_thoughts(text).splitlines():
        stripped = BULLET.sub("", line).strip().strip("*").strip()
        if stripped and not stripped.startswith(("#", "```")) and not stripped.endswith(":"):
            lines.append(stripped)
    return lines
