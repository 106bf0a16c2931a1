"""Hashes of runs of letters, for every place of a text at once, and an index of runs to find again.

A run's hash is a polynomial over the code points modulo 2^64. With prefix sums P and powers of an odd base B, the hash
of the letters from i to j is (P[j] - P[i]) · B^-i: any run's in constant time.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy

Array = numpy.ndarray[Any, Any]
BASE = 0x9E3779B97F4A7C15
INVERSE = pow(BASE, -1, 2**64)
PIECE = 1 << 18
"""Letters hashed at a time, so that a huge row needs no huge memory."""


@cache
def _powers(base: int, count: int) -> Array:
    powers = numpy.ones(count, dtype=numpy.uint64)
    with numpy.errstate(over="ignore"):
        powers[1:] = base
        return numpy.multiply.accumulate(powers)


def powers(base: int, count: int) -> Array:
    """base^0 … base^(count-1) modulo 2^64."""
    size = 1 << max(count - 1, 1).bit_length()
    return _powers(base, size)[:count]


def mix(values: Array) -> Array:
    """Scatter 64-bit numbers (the finaliser of splitmix64)."""
    with numpy.errstate(over="ignore"):
        values = values ^ (values >> numpy.uint64(30))
        values = values * numpy.uint64(0xBF58476D1CE4E5B9)
        values = values ^ (values >> numpy.uint64(27))
        values = values * numpy.uint64(0x94D049BB133111EB)
        return values ^ (values >> numpy.uint64(31))


class Prefixes:
    """Prefix sums of one text of letters (uint32)."""

    def __init__(self, letters: Array) -> None:
        count = len(letters)
        self.length = count
        with numpy.errstate(over="ignore"):
            terms = mix(letters.astype(numpy.uint64) + numpy.uint64(1)) * powers(BASE, count)
            self.sums = numpy.zeros(count + 1, dtype=numpy.uint64)
            numpy.add.accumulate(terms, out=self.sums[1:])

    def windows(self, width: int) -> Array:
        """Hash of the run of `width` letters from each place on."""
        places = self.length - width + 1
        if places <= 0:
            return numpy.empty(0, dtype=numpy.uint64)
        with numpy.errstate(over="ignore"):
            return (self.sums[width:] - self.sums[:places]) * powers(INVERSE, places)

    def runs(self, starts: Array, widths: Array) -> Array:
        """Hashes of runs of any lengths; `starts + widths` must lie in the text."""
        with numpy.errstate(over="ignore"):
            return (self.sums[starts + widths] - self.sums[starts]) * powers(INVERSE, self.length + 1)[starts]


def hash_letters(letters: Array) -> int:
    """Hash of a whole text."""
    return int(Prefixes(letters).windows(len(letters))[0]) if len(letters) else 0


class Letters:
    """The letters of several rows one after another, cut into pieces that hash in bounded memory."""

    def __init__(self, rows: list[Array]) -> None:
        self.rows = rows

    def pieces(self, overlap: int) -> Iterator["Piece"]:
        """Whole rows together up to PIECE letters; a longer row in pieces that share `overlap` letters."""
        waiting: list[Array] = []
        numbers: list[int] = []
        size = 0
        for number, letters in enumerate(self.rows):
            for start in range(0, max(len(letters), 1), PIECE):
                part = letters[start : start + PIECE + overlap]
                if size + len(part) > PIECE and waiting:
                    yield Piece(waiting, numbers)
                    waiting, numbers, size = [], [], 0
                waiting.append(part)
                numbers.append(number)
                size += len(part)
        if waiting:
            yield Piece(waiting, numbers)


class Piece:
    def __init__(self, parts: list[Array], numbers: list[int]) -> None:
        lengths = numpy.array([len(part) for part in parts], dtype=numpy.int64)
        self.letters = numpy.concatenate(parts)
        self.ends = numpy.repeat(numpy.cumsum(lengths), lengths)
        """Of each letter the place after the last of its part."""
        self.row = numpy.repeat(numpy.array(numbers, dtype=numpy.int64), lengths)
        """Of each letter the row in the block."""
        self.prefixes = Prefixes(self.letters)

    def windows(self, width: int) -> tuple[Array, Array]:
        """Places at which a run of `width` letters of one row begins, and their hashes."""
        hashes = self.prefixes.windows(width)
        places = numpy.flatnonzero(self.ends[: len(hashes)] - numpy.arange(len(hashes)) >= width)
        return places, hashes[places]
