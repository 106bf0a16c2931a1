"""Neighbouring points of a curve summed up so that no extreme is lost. N buckets, or points."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
BUCKET = np.dtype([("low", "<f8"), ("high", "<f8"), ("mean", "<f8"), ("finite", "<f8"), ("count", "<f8")])


@dataclass(frozen=True)
class Buckets:
    """Points summed up: first and last step, extremes and mean of the finite values, how many there are of each."""

    first_N: Ints
    last_N: Ints
    stats_N: NDArray[np.void]
    """Records of dtype `BUCKET`."""

    def __len__(self) -> int:
        return len(self.first_N)


def single_points(steps_N: Ints, values_N: Floats) -> Buckets:
    """Each point as a bucket of its own."""
    finite_N = np.isfinite(values_N)
    stats_N = np.empty(len(steps_N), dtype=BUCKET)
    stats_N["low"] = stats_N["high"] = stats_N["mean"] = np.where(finite_N, values_N, np.nan)
    stats_N["finite"], stats_N["count"] = finite_N, 1
    return Buckets(steps_N, steps_N, stats_N)


def merge_buckets(buckets: Buckets, edges: Ints) -> Buckets:
    """Neighbouring buckets summed up; each group begins at one of `edges`, the first of which is 0."""
    if not len(buckets):
        return buckets
    stats_N = buckets.stats_N
    merged = np.empty(len(edges), dtype=BUCKET)
    finite = np.add.reduceat(stats_N["finite"], edges)
    total = np.add.reduceat(np.where(stats_N["finite"] > 0, stats_N["mean"] * stats_N["finite"], 0.0), edges)
    merged["low"] = np.fmin.reduceat(stats_N["low"], edges)
    merged["high"] = np.fmax.reduceat(stats_N["high"], edges)
    merged["mean"] = np.divide(total, finite, out=np.full(len(edges), np.nan), where=finite > 0)
    merged["finite"], merged["count"] = finite, np.add.reduceat(stats_N["count"], edges)
    return Buckets(np.minimum.reduceat(buckets.first_N, edges), np.maximum.reduceat(buckets.last_N, edges), merged)


def join_buckets(parts: list[Buckets]) -> Buckets:
    if not parts:
        return single_points(np.empty(0, dtype="<i8"), np.empty(0, dtype="<f8"))
    return Buckets(
        np.concatenate([part.first_N for part in parts]),
        np.concatenate([part.last_N for part in parts]),
        np.concatenate([part.stats_N for part in parts]),
    )
