"""Standard error of a mean, with items that stand alone or in clusters."""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SMALL_ITEMS = 300
SMALL_CLUSTERS = 30
"""Below either, no claim rests on the central limit theorem."""


def number_clusters(clusters: Sequence[Hashable] | None, count: int) -> NDArray[np.intp]:
    """Clusters as 0, 1, 2, ...; every item its own when none are given. An empty name is a cluster of its own too."""
    if clusters is None:
        return np.arange(count)
    if len(clusters) != count:
        raise ValueError(f"{len(clusters)} clusters for {count} items; give one per item")
    numbers: dict[Hashable, int] = {}
    keys = [("item", place) if name == "" else ("cluster", name) for place, name in enumerate(clusters)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.intp)


def sum_by_cluster(values: Floats, clusters: NDArray[np.intp]) -> Floats:
    """Sum of the values of each cluster."""
    return np.bincount(clusters, weights=values).astype(np.float64)


def standard_error(values: Floats, clusters: NDArray[np.intp]) -> float:
    """sqrt(C/(C-1) · Σ_c (Σ_{i∈c} (s_i - mean))²) / n, with C-1 degrees of freedom; NaN, not 0, below two clusters.

    With every item its own cluster this is the sample standard deviation over sqrt(n).
    """
    sums = sum_by_cluster(values - values.mean(), clusters) if values.size else values
    if sums.size < 2:
        return math.nan
    return float(np.sqrt(sums.size / (sums.size - 1) * np.square(sums).sum()) / values.size)
