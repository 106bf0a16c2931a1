"""Intervals for metrics that are no means (micro-F1, corpus scores, ratios), by resampling whole clusters.

Resampling and the BCa interval are `scipy.stats.bootstrap` (Efron and Tibshirani 1993); this module only makes the
cluster the unit that is drawn, and refuses where clusters are too few for any bootstrap to be right.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chanote.boards.statistics.clustered import Floats
from chanote.boards.statistics.permutation import SEED

FEWEST_CLUSTERS = 20
RESAMPLES = 10_000


@dataclass(frozen=True)
class Resampled:
    value: float
    low: float | None
    high: float | None
    error: float | None
    method: str


def sum_clusters(parts: NDArray[Any], clusters: NDArray[np.intp]) -> Floats:
    """Sums (C, k) of what each item contributes (n, k), such as its true positives, misses and false alarms."""
    sums = np.zeros((int(clusters.max()) + 1, parts.shape[1]))
    np.add.at(sums, clusters, parts)
    return sums


def bootstrap_metric(
    sums: Floats,
    metric: Callable[[Floats], Floats],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    method: Literal["BCa", "percentile"] = "BCa",
    seed: int = SEED,
) -> Resampled:
    """A metric that is a function of sums over all items: `metric` takes (..., k) sums to (...) values.

    `sums` is (C, k), a row for each cluster (an item that stands alone is a cluster of its own). Below 20 clusters the
    interval would be too short, so there is none.
    """
    value = float(metric(sums.sum(0)))
    if len(sums) < FEWEST_CLUSTERS:
        return Resampled(value, None, None, None, f"undefined: {len(sums)} clusters, a bootstrap needs 20")
    from scipy.stats import bootstrap

    def statistic(places: NDArray[np.intp], axis: int) -> Floats:
        return metric(np.moveaxis(sums[places], axis if axis >= 0 else axis + places.ndim, -2).sum(-2))

    if np.isclose(statistic(_leave_one_out(len(sums)), -1), value, atol=1e-14).all():
        return Resampled(value, value, value, 0.0, "bootstrap: every cluster says the same")
    found = bootstrap(
        (np.arange(len(sums)),),
        statistic,
        n_resamples=resamples,
        batch=max(1, 4_000_000 // sums.size),
        confidence_level=level,
        method=method,
        vectorized=True,
        axis=-1,
        rng=np.random.default_rng(seed),
    )
    low, high = (float(bound) for bound in found.confidence_interval)
    defined = math.isfinite(low) and math.isfinite(high)
    named = f"{method} bootstrap of {len(sums)} clusters"
    return Resampled(value, low if defined else None, high if defined else None, float(found.standard_error), named)


def _leave_one_out(count: int) -> NDArray[np.intp]:
    return np.array([[place for place in range(count) if place != left] for left in range(count)], dtype=np.intp)


def f1_of_sums(sums: Floats) -> Floats:
    """Micro-F1 = 2 tp / (2 tp + fp + fn) of sums (..., 3) of true positives, false positives, misses; 0 of nothing."""
    right = 2 * sums[..., 0]
    whole = right + sums[..., 1] + sums[..., 2]
    return np.divide(right, whole, out=np.zeros_like(right), where=whole > 0)
