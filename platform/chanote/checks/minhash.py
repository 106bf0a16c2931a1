"""MinHash signatures of rows, and clusters of rows whose signatures nearly agree.

The share of places in which two signatures agree estimates the Jaccard similarity of the sets of runs of letters
(Broder 1997). A signature is cut into bands; rows with a band in common are compared (locality-sensitive hashing,
Indyk and Motwani 1998). With 20 bands of 6, two rows alike by 0.8 meet in some band with probability 0.998.

The signatures of a version lie in files: memory grows by some dozen bytes a row.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy

from chanote.checks.grams import Letters, mix

Array = numpy.ndarray[Any, Any]
SHINGLE = 5
"""Letters of a run. Thai has no spaces, and in one script or another five letters are about a word."""
BANDS, ROWS = 20, 6
PLACES = BANDS * ROWS
COMPARED = 8192
"""Pairs of signatures compared at a time."""


@cache
def _permutations() -> tuple[Array, Array]:
    """Odd factors and masks, the same in every process and for ever."""
    seeds = mix(numpy.arange(1, 2 * PLACES + 1, dtype=numpy.uint64))
    return (seeds[:PLACES] >> numpy.uint64(32)).astype(numpy.uint32) | numpy.uint32(1), seeds[PLACES:].astype(
        numpy.uint32
    )


def sign_rows(rows: list[Array]) -> Array:
    """Signatures (rows × PLACES, uint16) of rows of letters. All ones: a row of fewer letters than a run has.

    The lower half of each minimum is kept: two different minima agree there by chance once in 65,536.
    """
    minima = numpy.full((len(rows), PLACES), numpy.iinfo(numpy.uint32).max, dtype=numpy.uint32)
    factors, masks = _permutations()
    for piece in Letters(rows).pieces(SHINGLE - 1):
        places, hashes = piece.windows(SHINGLE)
        if not len(places):
            continue
        shingles = (mix(hashes) >> numpy.uint64(32)).astype(numpy.uint32)
        owners = piece.row[places]
        starts = numpy.flatnonzero(numpy.diff(owners, prepend=-1))
        whose = owners[starts]
        for place in range(PLACES):
            least = numpy.minimum.reduceat((shingles ^ masks[place]) * factors[place], starts)
            # A long row comes in several pieces.
            numpy.minimum.at(minima[:, place], whose, least)
    return minima.astype(numpy.uint16)


def similarity(one: Array, other: Array) -> Array:
    """Share of places that agree, along the last axis."""
    agreed: Array = (one == other).mean(axis=-1)
    return agreed


class Clusters:
    """Union-find over rows; the root of a cluster is its first row."""

    def __init__(self, rows: int) -> None:
        self.parent = numpy.arange(rows, dtype=numpy.int64)

    def find(self, row: int) -> int:
        parent = self.parent
        root = row
        while parent[root] != root:
            root = int(parent[root])
        while parent[row] != root:
            parent[row], row = root, int(parent[row])
        return root

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self.find(one), self.find(other)))
        self.parent[second] = first

    def roots(self) -> Array:
        """Root of every row."""
        roots = self.parent
        while True:
            above = roots[roots]
            if (above == roots).all():
                return roots
            roots = above


class SignatureFile:
    """Signatures of all rows of a version, and of each band its keys, each band in a file of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._signatures = (folder / "signatures").open("wb")
        self._bands = [(folder / f"band-{band}").open("wb") for band in range(BANDS)]
        self.rows = 0

    def add(self, signatures: Array) -> None:
        self._signatures.write(signatures.tobytes())
        factors = mix(numpy.arange(1, ROWS + 1, dtype=numpy.uint64)) | numpy.uint64(1)
        for band, file in enumerate(self._bands):
            with numpy.errstate(over="ignore"):
                values = (
                    mix(signatures[:, band * ROWS : (band + 1) * ROWS].astype(numpy.uint64) + numpy.uint64(band))
                    * factors
                )
                file.write(values.sum(axis=1, dtype=numpy.uint64).tobytes())
        self.rows += len(signatures)

    def close(self) -> None:
        for file in (self._signatures, *self._bands):
            file.close()

    def pairs(self, band: int, usable: Array) -> tuple[Array, Array]:
        """Rows that share the band's key with an earlier usable row, and the first such row."""
        keys = numpy.fromfile(self.folder / f"band-{band}", dtype=numpy.uint64)
        rows = numpy.flatnonzero(usable)
        order = rows[numpy.argsort(keys[rows], kind="stable")]
        sorted_keys = keys[order]
        first = numpy.concatenate(([True], sorted_keys[1:] != sorted_keys[:-1])) if len(order) else numpy.empty(0, bool)
        leaders = order[numpy.flatnonzero(first)][numpy.cumsum(first) - 1] if len(order) else order
        return leaders[~first], order[~first]


def cluster(file: SignatureFile, usable: Array, threshold: float, clusters: Clusters) -> None:
    """Join rows whose signatures agree in `threshold` of their places. Rows that are not `usable` are left out."""
    file.close()
    signatures = numpy.memmap(file.folder / "signatures", dtype=numpy.uint16, mode="r", shape=(file.rows, PLACES))
    for band in range(BANDS):
        leaders, rows = file.pairs(band, usable)
        apart = clusters.roots()
        leaders, rows = (side[apart[leaders] != apart[rows]] for side in (leaders, rows))
        for start in range(0, len(rows), COMPARED):
            _join_alike(
                signatures, leaders[start : start + COMPARED], rows[start : start + COMPARED], threshold, clusters
            )


def _join_alike(signatures: Array, leaders: Array, rows: Array, threshold: float, clusters: Clusters) -> None:
    alike = similarity(signatures[leaders], signatures[rows]) >= threshold
    for leader, row in zip(leaders[alike].tolist(), rows[alike].tolist(), strict=True):
        clusters.join(leader, row)


def list_groups(roots: Array) -> Iterable[tuple[int, Array]]:
    """First row and all rows of each cluster of two or more."""
    order = numpy.argsort(roots, kind="stable")
    firsts, starts, counts = numpy.unique(roots[order], return_index=True, return_counts=True)
    for first, start, count in zip(firsts.tolist(), starts.tolist(), counts.tolist(), strict=True):
        if count > 1:
            yield first, order[start : start + count]
