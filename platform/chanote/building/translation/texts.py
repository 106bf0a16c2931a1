"""Which texts of a row are translated, and the row with their translations in place."""

import copy
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]
FIELDS: dict[str, tuple[str, ...]] = {
    "text": ("text",),
    "prompts": ("question", "answer"),
    "choices": ("question", "choices"),
    "preferences": ("messages", "chosen", "rejected"),
    "chat": ("messages",),
}
"""Fields of a kind of row that people read. Names of laws, citations and further fields stay as they are."""
TURNS = ("system", "user", "assistant")


def list_texts(row: dict[str, Any], kind: str) -> Iterator[tuple[Path, str]]:
    """Texts with their places in the row; what tools are given and say is no text for people."""
    for field in FIELDS[kind]:
        value = row.get(field)
        if isinstance(value, str):
            yield (field,), value
        elif field == "choices" and isinstance(value, list):
            yield from (((field, place), one) for place, one in enumerate(value))
        elif field == "messages" and isinstance(value, list):
            for place, message in enumerate(value):
                if message.get("role") in TURNS and isinstance(message.get("content"), str):
                    yield (field, place, "content"), message["content"]


def replace_texts(row: dict[str, Any], texts: dict[Path, str]) -> dict[str, Any]:
    """A copy of the row with these texts at their places."""
    changed = copy.deepcopy(row)
    for path, text in texts.items():
        holder: Any = changed
        for part in path[:-1]:
            holder = holder[part]
        holder[path[-1]] = text
    return changed
