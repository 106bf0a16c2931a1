"""What a loader says of the rows it makes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chanote.datasets.reading.jsonl import read_jsonl

Row = dict[str, Any]
OPEN = ("train", "distil", "evaluate", "publish")
"""Uses of rows under a free licence or under none needed."""


@dataclass(frozen=True)
class SharedDataset:
    slug: str
    title: str
    kind: str
    rows: Callable[[], Iterator[Row]]
    licence: str
    uses: tuple[str, ...]
    languages: tuple[str, ...]
    description: str
    """What a person must know of the rows and of their rights, in sentences."""
    non_commercial: bool = False
    source: str = ""
    """Where every row comes from: a key of `SOURCES`."""
    source_of: Callable[[Row], str] | None = None
    """Or where each does."""

    def find_source(self, row: Row) -> str:
        return self.source_of(row) if self.source_of else self.source


def read_json_lines(path: Path) -> Iterator[Row]:
    """Raises ValueError for a line that is no JSON object."""
    with path.open("rb") as file:
        for row in read_jsonl(file):
            if not isinstance(row, tuple):
                raise ValueError(f"{path}: {row}")
            yield row[1]


def read_source(folder: Path) -> str:
    """Where the folder's rows come from: address and commit as its SOURCE.txt says."""
    lines = (folder / "SOURCE.txt").read_text(encoding="utf-8").splitlines()
    facts = dict(line.split(": ", 1) for line in lines if ": " in line)
    return f"{facts['repo']} at {facts['commit']}, {facts['path(s)']}"
