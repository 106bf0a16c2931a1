"""Intervals over seeds: the seed is the unit, however many questions each was asked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import t as student


@dataclass(frozen=True)
class Interval:
    """Mean over seeds with Student's 95 % interval."""

    mean: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{_signed(self.mean)} ({_signed(self.low)} to {_signed(self.high)})"


def interval_of(values: Sequence[float]) -> Interval:
    """x̄ ± t(n−1) · s/√n; without bounds below two values."""
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return Interval(mean, -math.inf, math.inf, count)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    half = float(student.ppf(0.975, count - 1)) * deviation / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, count)


def paired_difference(by_seed: Mapping[str, Mapping[str, Mapping[str, float]]], task: str, *arms: str) -> Interval:
    """First arm minus second within each seed. `by_seed` is seed → arm → task → score."""
    better, worse = arms
    return interval_of([scores[better][task] - scores[worse][task] for scores in by_seed.values()])


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
