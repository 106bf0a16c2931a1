"""A ratio of two sums over items (F1 of a whole corpus, bits per byte of all text) and its interval.

Such a number is no mean of scores by item: what an item adds to both sums varies together. From 300 clusters on the
delta method (Cochran 1977, *Sampling Techniques*, 6.4), below that the BCa bootstrap of whole clusters, below 20 none.
"""

from collections.abc import Hashable, Sequence

import numpy as np
import scipy

from chanote.boards.statistics.bootstrap import FEWEST_CLUSTERS, bootstrap_metric, sum_clusters
from chanote.boards.statistics.clustered import SMALL_ITEMS, Floats, number_clusters
from chanote.boards.statistics.estimate import Estimate

RESAMPLES = 2_000


def estimate_ratio(
    above: Sequence[float] | Floats,
    below: Sequence[float] | Floats,
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
) -> Estimate:
    """R = Σ above / Σ below over items (n each); not defined where the lower sum is 0.

    Delta method: e_c = (A_c - R·B_c) / ΣB by cluster, SE² = C/(C-1) · Σ e_c², Student's t with C-1 degrees of freedom.
    """
    parts = np.stack([np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)], axis=1)
    numbers = number_clusters(clusters, len(parts))
    count, units = len(parts), int(numbers.max()) + 1 if len(parts) else 0
    if not count or parts[:, 1].sum() == 0:
        return Estimate(None, None, None, None, count, units, "undefined: nothing to divide by")
    sums = sum_clusters(parts, numbers)
    ratio = float(sums[:, 0].sum() / sums[:, 1].sum())
    if units < FEWEST_CLUSTERS:
        named = f"undefined: {units} independent items, {FEWEST_CLUSTERS} are needed"
        return Estimate(ratio, None, None, None, count, units, named)
    if units < SMALL_ITEMS:
        found = bootstrap_metric(sums, divide_sums, level=level, resamples=RESAMPLES)
        return Estimate(ratio, found.low, found.high, found.error, count, units, found.method)
    left = (sums[:, 0] - ratio * sums[:, 1]) / sums[:, 1].sum()
    error = float(np.sqrt(units / (units - 1) * np.square(left).sum()))
    half = float(scipy.special.stdtrit(units - 1, 0.5 + level / 2)) * error
    named = "delta method" if units == count else "delta method, clustered"
    return Estimate(ratio, ratio - half, ratio + half, error, count, units, named)


def divide_sums(sums: Floats) -> Floats:
    """Upper by lower of (..., 2) sums; 0 of a draw in which the lower is 0."""
    return np.divide(sums[..., 0], sums[..., 1], out=np.zeros_like(sums[..., 0]), where=sums[..., 1] > 0)
