"""Intervals of agreement: whole clusters of items are drawn anew, and the measure is worked out on each draw.

Below 20 clusters such an interval would be too short, and there is none.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chanote.boards.statistics.agreement import Agreement, cohen_kappa, fleiss_kappa, weighted_kappa
from chanote.boards.statistics.bootstrap import FEWEST_CLUSTERS
from chanote.boards.statistics.clustered import Floats, number_clusters
from chanote.boards.statistics.permutation import SEED

RESAMPLES = 1_000


@dataclass(frozen=True)
class Bounded:
    """An agreement with the percentile interval of its κ; None where nothing can be told."""

    found: Agreement
    low: float | None
    high: float | None
    clusters: int


def bound_kappa(
    a: Sequence[float],
    b: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    weights: Literal["none", "quadratic"] = "none",
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Bounded:
    """Cohen's κ of two raters, or the quadratically weighted one, as `agreement` defines them."""
    found = cohen_kappa(a, b) if weights == "none" else weighted_kappa(a, b)
    levels = sorted({*a, *b})
    place = {value: number for number, value in enumerate(levels)}
    numbers = number_clusters(clusters, len(a))
    size = len(levels)
    cross = np.zeros((int(numbers.max()) + 1, size * size))
    cells = np.array([place[one] * size + place[two] for one, two in zip(a, b, strict=True)])
    np.add.at(cross, (numbers, cells), 1)
    values = np.array(levels, dtype=np.float64)
    apart = values[:, None] - values
    distance = (apart != 0).astype(np.float64) if weights == "none" else np.square(apart)

    def kappa(tables: Floats) -> Floats:
        shares = (tables / tables.sum(1, keepdims=True)).reshape(-1, size, size)
        expected = np.einsum("bi,bj,ij->b", shares.sum(2), shares.sum(1), distance)
        seen = np.einsum("bij,ij->b", shares, distance)
        return 1 - np.divide(seen, expected, out=np.full_like(seen, np.nan), where=expected > 1e-12)

    return _bound(found, cross, kappa, resamples, level)


def bound_fleiss(
    counts: NDArray[np.int64],
    clusters: Sequence[Hashable] | None = None,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Bounded:
    """Fleiss' κ of `counts` (items, categories). Raises ValueError where raters differ in number."""
    found = fleiss_kappa(counts)
    n = int(counts[0].sum())
    agree = (np.square(counts).sum(1) - n) / (n * (n - 1))
    numbers = number_clusters(clusters, len(counts))
    sums = np.zeros((int(numbers.max()) + 1, counts.shape[1] + 2))
    np.add.at(sums, numbers, np.column_stack([counts, agree, np.ones(len(counts))]))

    def kappa(drawn: Floats) -> Floats:
        shares = drawn[:, :-2] / drawn[:, :-2].sum(1, keepdims=True)
        expected = np.square(shares).sum(1)
        seen = drawn[:, -2] / drawn[:, -1] - expected
        return np.divide(seen, 1 - expected, out=np.full_like(seen, np.nan), where=expected < 1 - 1e-12)

    return _bound(found, sums, kappa, resamples, level)


def _bound(
    found: Agreement, sums: Floats, measure: Callable[[Floats], Floats], resamples: int, level: float
) -> Bounded:
    clusters = len(sums)
    if clusters < FEWEST_CLUSTERS or found.kappa is None:
        return Bounded(found, None, None, clusters)
    draw = np.random.default_rng(SEED)
    weights = draw.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples).astype(np.float64)
    values = measure(weights @ sums)
    known = values[np.isfinite(values)]
    if known.size < resamples / 2:
        return Bounded(found, None, None, clusters)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Bounded(found, float(low), float(high), clusters)
