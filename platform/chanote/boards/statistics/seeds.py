"""Recipes held against each other: the unit is the training run, not the item.

A recipe trained again with another seed gives another model. Sober Look (Hochlehner et al. 2025, arXiv:2504.07086)
finds spreads between seeds of several points. With one run each nothing can be said of recipes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chanote.boards.statistics.permutation import SEED

FEWEST_SEEDS = 3


@dataclass(frozen=True)
class RecipeComparison:
    """Recipe A less recipe B, over training runs."""

    delta: float
    low: float
    high: float
    p: float
    freedom: float
    """Satterthwaite's: (v_a + v_b)² / (v_a²/(S_a - 1) + v_b²/(S_b - 1)), v = variance over the number of runs."""
    seeds: tuple[int, int]
    spread: tuple[float, float]
    """Standard deviation between the runs of each recipe."""


def compare_recipes(a: Sequence[float], b: Sequence[float], *, level: float = 0.95) -> RecipeComparison:
    """Welch's t on the mean score of each training run, by `scipy.stats.ttest_ind(equal_var=False)`.

    Raises ValueError below three runs of either: two have no spread worth the name.
    """
    if min(len(a), len(b)) < FEWEST_SEEDS:
        raise ValueError(
            f"{len(a)} and {len(b)} training runs: comparing recipes needs at least {FEWEST_SEEDS} of each, "
            "with different seeds"
        )
    from scipy.stats import ttest_ind

    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    delta = float(first.mean() - second.mean())
    spread = float(first.std(ddof=1)), float(second.std(ddof=1))
    seeds = first.size, second.size
    if spread == (0.0, 0.0):
        return RecipeComparison(delta, delta, delta, float(delta == 0), float(sum(seeds) - 2), seeds, spread)
    found = ttest_ind(first, second, equal_var=False)
    low, high = found.confidence_interval(level)
    return RecipeComparison(delta, float(low), float(high), float(found.pvalue), float(found.df), seeds, spread)


def bootstrap_recipes(
    a: NDArray[np.float64], b: NDArray[np.float64], *, resamples: int = 5_000, level: float = 0.95, seed: int = SEED
) -> tuple[float, float]:
    """Percentile interval of A less B from scores (runs, items): runs are drawn anew, then the items of both together.

    It speaks of other seeds and other items of the same kind, where Welch's t speaks of other seeds on these items.
    """
    draw = np.random.default_rng(seed)
    items = a.shape[1]
    if b.shape[1] != items:
        raise ValueError(f"{items} items against {b.shape[1]}: both recipes must answer the same ones")
    deltas = np.empty(resamples)
    for place in range(resamples):
        weights = draw.multinomial(items, np.full(items, 1 / items)) / items
        sides = [side[draw.integers(0, len(side), len(side))].mean(0) @ weights for side in (a, b)]
        deltas[place] = sides[0] - sides[1]
    low, high = np.quantile(deltas, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def seeds_needed(spread: float, difference: float) -> int:
    """Runs of each recipe to find a difference with 80 % probability at 5 %: 2 · 7.85 · spread² / difference² + 1."""
    return max(FEWEST_SEEDS, math.ceil(2 * 7.8489 * (spread / difference) ** 2 + 1))
