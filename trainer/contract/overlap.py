"""Whether text to be learned holds what a run is evaluated on. Standard library only.

An item counts as held when its question (or its whole text, where that is what is scored) stands in the text as a row
or as a line, white space and case aside. Facts that answer a question may and should stand there; the question itself,
or the passage whose likelihood is the score, must not.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Row = Mapping[str, Any]


def find_overlap(corpus: Iterable[Row], items: Iterable[Row]) -> tuple[int, int] | None:
    """Numbers, from 0, of the first row of the corpus that holds an item and of that item; None when none does."""
    asked: dict[str, int] = {}
    for number, item in enumerate(items):
        for text in _asked_by(item):
            if folded := _fold(text):
                asked.setdefault(folded, number)
    for number, row in enumerate(corpus):
        text = str(row.get("text", ""))
        for part in (text, *text.splitlines()):
            if (found := asked.get(_fold(part))) is not None:
                return number, found
    return None


def _asked_by(item: Row) -> Iterator[str]:
    for field in ("question", "text"):
        if isinstance(item.get(field), str):
            yield item[field]
    messages = item.get("messages")
    if isinstance(messages, list):
        questions = [one.get("content") for one in messages if isinstance(one, dict) and one.get("role") == "user"]
        if questions and isinstance(questions[-1], str):
            yield questions[-1]


def _fold(text: str) -> str:
    return " ".join(text.split()).casefold()
