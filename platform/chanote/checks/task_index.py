"""The index of what tasks ask: every run of 13 words, and every run of 50 letters, of every item.

Only items are cut into words. A row is never: it holds 13 words of an item when it holds their letters one after
another, whatever stands between them. So no row, however hostile, costs more than its length, and a word splitter that
cuts the same words otherwise in another sentence hides no copy.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy

from chanote.checks.folding import fold_for_comparing
from chanote.checks.grams import Array, Piece, Prefixes
from chanote.checks.tokens import split_words

EDITION = 1
"""Grows when the index of the same items would be another one."""
WORDS, LETTERS = 13, 50
SHORTEST = 20
"""Letters of a question that is too short for either run and is looked for as a whole; a shorter one cannot be told."""
SOURCE_STEP = 8
"""Of a source's text every eighth run of 50 letters is kept: a copy of 57 letters holds one of them."""
WIDTHS = (13, 20, 32, 50)
"""Letters by whose hash a run is first looked for: the most that it has."""
FORM_ITEMS = 10
"""A run that stands in more items of one set is their form of words and no item's own."""
FILTER_BITS = 24
PARTS = ("question", "answer", "source")


@dataclass(frozen=True)
class ItemText:
    item: int
    part: str
    text: str


class IndexWriter:
    """Collects runs; `write` sorts them into files that processes map into memory."""

    def __init__(self) -> None:
        self._runs: list[Array] = []

    def add_set(self, texts: Iterable[ItemText]) -> None:
        """The items of one set of rows; what many of them share is left out."""
        found = [list_runs(text) for text in texts]
        if found:
            runs = numpy.concatenate(found)
            self._runs.append(runs[~_is_form(runs)])

    def write(self, folder: Path) -> Counter[tuple[int, str]]:
        """Runs of each item's part."""
        runs = numpy.concatenate(self._runs) if self._runs else numpy.empty(0, dtype=RUN)
        runs = runs[numpy.argsort(runs, order=("item", "part", "whole"), kind="stable")]
        if len(runs):
            same = (runs[1:]["whole"] == runs[:-1]["whole"]) & (runs[1:]["item"] == runs[:-1]["item"])
            same &= runs[1:]["part"] == runs[:-1]["part"]
            runs = runs[numpy.concatenate(([True], ~same))]
        runs = runs[numpy.argsort(runs, order=("width", "first"), kind="stable")]
        numpy.save(folder / "runs.npy", runs)
        counts: Counter[tuple[int, str]] = Counter()
        pairs, numbers = numpy.unique(runs["item"].astype(numpy.int64) * 4 + runs["part"], return_counts=True)
        for pair, number in zip(pairs.tolist(), numbers.tolist(), strict=True):
            counts[pair // 4, PARTS[pair % 4]] = number
        return counts


RUN = numpy.dtype(
    [("first", "<u8"), ("whole", "<u8"), ("length", "<u4"), ("item", "<u4"), ("part", "u1"), ("width", "u1")]
)
"""Hash of the first `width` letters, hash of all `length` letters, and whose they are."""


def list_runs(text: ItemText) -> Array:
    words = [fold_for_comparing(word) for word in split_words(text.text)]
    words = [word for word in words if len(word)]
    letters = numpy.concatenate(words) if words else numpy.empty(0, dtype=numpy.uint32)
    edges = numpy.concatenate(([0], numpy.cumsum([len(word) for word in words]))).astype(numpy.int64)
    starts, lengths = [], []
    step = SOURCE_STEP if text.part == "source" else 1
    if text.part != "source" and len(words) >= WORDS:
        begin, end = edges[: len(edges) - WORDS], edges[WORDS:]
        starts.append(begin)
        lengths.append(end - begin)
    if len(letters) >= LETTERS:
        begin = numpy.arange(0, len(letters) - LETTERS + 1, step)
        starts.append(begin)
        lengths.append(numpy.full(len(begin), LETTERS))
    if not starts and len(letters) >= SHORTEST and text.part == "question":
        starts.append(numpy.array([0]))
        lengths.append(numpy.array([len(letters)]))
    if not starts:
        return numpy.empty(0, dtype=RUN)
    start, length = numpy.concatenate(starts), numpy.concatenate(lengths)
    widths = numpy.array(WIDTHS)[numpy.searchsorted(WIDTHS, length, side="right") - 1]
    prefixes = Prefixes(letters)
    runs = numpy.empty(len(start), dtype=RUN)
    runs["first"], runs["whole"] = prefixes.runs(start, widths), prefixes.runs(start, length)
    runs["length"], runs["width"] = length, widths
    runs["item"], runs["part"] = text.item, PARTS.index(text.part)
    return runs


def _is_form(runs: Array) -> Array:
    """Runs that stand in so many items of the set that they are no item's own."""
    keys, places = numpy.unique(runs["whole"], return_inverse=True)
    pairs = numpy.unique(places.astype(numpy.int64) << 32 | runs["item"])
    items = numpy.bincount(pairs >> 32, minlength=len(keys))
    # Many questions may rest on one law: what sources share is still theirs.
    form: Array = (items[places] > FORM_ITEMS) & (runs["part"] != PARTS.index("source"))
    return form


class TaskIndex:
    """Runs by the hash of their beginning."""

    def __init__(self, folder: Path) -> None:
        self.runs = numpy.load(folder / "runs.npy", mmap_mode="r")
        self._edges = numpy.searchsorted(self.runs["width"], [*WIDTHS, 256])
        self._filters = []
        for place in range(len(WIDTHS)):
            table = numpy.zeros(1 << FILTER_BITS, dtype=bool)
            table[self._firsts(place) >> numpy.uint64(64 - FILTER_BITS)] = True
            self._filters.append(table)

    def _firsts(self, place: int) -> Array:
        firsts: Array = self.runs["first"][self._edges[place] : self._edges[place + 1]]
        return firsts

    def find(self, piece: Piece) -> tuple[Array, Array]:
        """Rows of the piece and runs that stand in them, one for each place where one does."""
        rows, runs = [], []
        for place, width in enumerate(WIDTHS):
            if self._edges[place] == self._edges[place + 1]:
                continue
            starts, hashes = piece.windows(width)
            likely = self._filters[place][hashes >> numpy.uint64(64 - FILTER_BITS)]
            starts, hashes = starts[likely], hashes[likely]
            if not len(starts):
                continue
            firsts = numpy.ascontiguousarray(self._firsts(place))
            low, high = (numpy.searchsorted(firsts, hashes, side=side) for side in ("left", "right"))
            many = high - low
            starts = numpy.repeat(starts, many)
            offsets = numpy.arange(len(starts)) - numpy.repeat(numpy.cumsum(many) - many, many)
            candidates = self._edges[place] + numpy.repeat(low, many) + offsets
            lengths = self.runs["length"][candidates].astype(numpy.int64)
            fits = starts + lengths <= piece.ends[starts]
            starts, candidates, lengths = starts[fits], candidates[fits], lengths[fits]
            same = piece.prefixes.runs(starts, lengths) == self.runs["whole"][candidates]
            rows.append(piece.row[starts[same]])
            runs.append(candidates[same])
        if not rows:
            return numpy.empty(0, dtype=numpy.int64), numpy.empty(0, dtype=numpy.int64)
        return numpy.concatenate(rows), numpy.concatenate(runs)

    @property
    def longest(self) -> int:
        """Letters of the longest run."""
        return int(self.runs["length"].max()) if len(self.runs) else 0


@lru_cache(maxsize=2)
def open_index(folder: Path) -> TaskIndex:
    return TaskIndex(folder)
