"""A block of rows as all checks look at it: parsed once, folded once."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy

from chanote.checks.folding import fold_for_comparing
from chanote.checks.language import Shares, measure_scripts
from chanote.datasets.kinds import ROW_MODELS, RowModel

MOST_ROWS = 1024
MOST_BYTES = 1 << 20
CUT_EVERY = 256
"""Rows in a block on average: one in so many ends its block, chosen by the row's own hash."""


class Block:
    """Consecutive rows of one kind."""

    def __init__(self, kind: str, lines: list[bytes]) -> None:
        self.kind = kind
        self.lines = lines

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    @cached_property
    def checked(self) -> list[RowModel]:
        """Rows as their kind reads them, without a check: they were checked when they came in."""
        return [build_row(self.kind, row) for row in self.rows]

    @cached_property
    def texts(self) -> list[str]:
        """What a reader or a model reads of each row, its parts on lines of their own."""
        return ["\n".join(row.texts()) for row in self.checked]

    @cached_property
    def folded(self) -> list["numpy.ndarray[Any, Any]"]:
        """Of each row the letters to compare it by, see `fold_for_comparing`."""
        return [fold_for_comparing(text) for text in self.texts]

    @cached_property
    def marks(self) -> list[int]:
        """A number of each row that depends on its content only."""
        return [mark_line(line) for line in self.lines]

    @cached_property
    def shares(self) -> list[Shares]:
        """Scripts and language of each row."""
        return measure_scripts(self.texts)


def mark_line(line: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(line, digest_size=4).digest(), "little")


def build_row(kind: str, row: dict[str, Any]) -> RowModel:
    return ROW_MODELS[kind].model_validate(row)


def cut_blocks(lines: Iterable[bytes]) -> Iterator[tuple[int, list[bytes], str]]:
    """First row (from 0), lines and hash of each block.

    Where a block ends depends on its rows only: in a version with a few rows added or taken out nearly all blocks are
    those of the version before, and what was found in them is known already.
    """
    first, block, size, digest = 0, [], 0, hashlib.sha256()
    number = -1
    for number, line in enumerate(lines):
        block.append(line)
        size += len(line)
        digest.update(line)
        if mark_line(line) % CUT_EVERY == 0 or len(block) >= MOST_ROWS or size >= MOST_BYTES:
            yield first, block, digest.hexdigest()
            first, block, size, digest = number + 1, [], 0, hashlib.sha256()
    if block:
        yield first, block, digest.hexdigest()
