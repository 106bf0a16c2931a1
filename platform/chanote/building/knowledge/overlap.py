"""Whether text holds what is evaluated: 13 words or 50 letters in a row, as the check of overlap counts them.

The index and its folding (NFC, digits of every script, invisible characters) are those of chanote.checks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chanote.building.knowledge.items import Asked
from chanote.checks.folding import fold_for_comparing
from chanote.checks.grams import Letters
from chanote.checks.task_index import PARTS, IndexWriter, ItemText, TaskIndex


@dataclass(frozen=True)
class Hit:
    """An item of which a text holds a part."""

    part: str
    """question, answer or source."""
    item: int


class OverlapIndex:
    def __init__(self, folder: Path) -> None:
        self._index = TaskIndex(folder)
        self._overlap = max(self._index.longest - 1, 0)

    def find(self, texts: Sequence[str]) -> list[set[Hit]]:
        """For each text the items that it holds."""
        found: list[set[Hit]] = [set() for _ in texts]
        folded = [fold_for_comparing(text) for text in texts]
        for piece in Letters(folded).pieces(self._overlap):
            rows, runs = self._index.find(piece)
            owners = self._index.runs[runs]
            for row, part, item in zip(rows.tolist(), owners["part"].tolist(), owners["item"].tolist(), strict=True):
                found[row].add(Hit(PARTS[part], item))
        return found


def write_index(sets: Iterable[Iterable[Asked]], folder: Path) -> OverlapIndex:
    """Index what the sets ask; each set apart, since what many of its items share is their form."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = IndexWriter()
    for one in sets:
        writer.add_set(ItemText(asked.item, asked.part, asked.text) for asked in one)
    writer.write(folder)
    return OverlapIndex(folder)
