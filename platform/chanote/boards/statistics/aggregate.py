"""One number from several tasks, and scores freed of what guessing gives."""

import math
from collections.abc import Sequence

import numpy as np

from chanote.boards.statistics.clustered import Floats


def macro_mean(
    means: Sequence[float], covariance: Floats, weights: Sequence[float] | None = None
) -> tuple[float, float]:
    """Σ w x̄ and sqrt(w' Σ w). `covariance` is diagonal unless the tasks share items, as translations of one set do."""
    w = np.full(len(means), 1 / len(means)) if weights is None else np.asarray(weights, dtype=np.float64)
    return float(w @ np.asarray(means)), math.sqrt(float(w @ covariance @ w))


def pooled_error(errors: Sequence[float], counts: Sequence[int]) -> float:
    """Standard error of a group as lm-evaluation-harness pools it, its tasks weighted by items.

    sqrt(Σ (n - 1) n se² / (Σ n - T) / Σ n): the tasks' spreads are pooled, differences between tasks left out.
    """
    n, se = np.asarray(counts, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    return math.sqrt(float(((n - 1) * n * se**2).sum() / (n.sum() - n.size) / n.sum()))


def normalise_chance(value: float, error: float, *, chance: float, best: float = 1.0) -> tuple[float, float]:
    """(x - b) / (max - b) and its error, scaled likewise: 0 for guessing, below 0 for worse. b = 1/options."""
    return (value - chance) / (best - chance), error / (best - chance)
