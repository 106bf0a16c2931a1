"""The mean score of one model on one task, and how far it may be off."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from chanote.boards.statistics.clustered import Floats, number_clusters, standard_error
from chanote.boards.statistics.proportion import wilson_interval


@dataclass(frozen=True)
class Estimate:
    """Numbers that are not defined (an interval from one item) are None, never 0."""

    mean: float | None
    low: float | None
    high: float | None
    error: float | None
    """Standard error."""
    count: int
    clusters: int
    method: str


def is_binary(values: Floats) -> bool:
    """Every score is right (1) or wrong (0)."""
    return bool(np.isin(values, (0.0, 1.0)).all())


def estimate_mean(
    scores: Sequence[float] | Floats, *, clusters: Sequence[Hashable] | None = None, level: float = 0.95
) -> Estimate:
    """Mean and interval over items.

    Right-or-wrong scores: Wilson. In clusters: Wilson with the effective number of items n · SE_iid² / SE_clustered²
    (at most n) and Student's quantile with C-1 degrees of freedom, as Korn and Graubard (1998) do for surveys.
    Graded scores: Student's t with the clustered standard error.
    """
    values = np.asarray(scores, dtype=np.float64)
    numbers = number_clusters(clusters, values.size)
    count, units = values.size, int(numbers.max()) + 1 if values.size else 0
    if units < 2:
        mean = float(values.mean()) if count else None
        return Estimate(mean, None, None, None, count, units, "undefined: fewer than two independent items")
    mean = float(values.mean())
    error = standard_error(values, numbers)
    quantile = float(scipy.special.stdtrit(units - 1, 0.5 + level / 2))
    if not is_binary(values):
        named = "Student's t" if units == count else "Student's t, clustered"
        return Estimate(mean, mean - quantile * error, mean + quantile * error, error, count, units, named)
    if units == count:
        low, high = wilson_interval(mean, count, level=level)
        return Estimate(mean, low, high, error, count, units, "Wilson")
    alone = mean * (1 - mean) / (count - 1)
    effective = units if alone == 0 else count * min(1.0, alone / error**2) if error > 0 else count
    low, high = wilson_interval(mean, effective, quantile=quantile)
    return Estimate(mean, low, high, error, count, units, "Wilson, effective n of clusters")
