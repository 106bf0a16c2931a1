"""Intervals for one rate."""

import math

import scipy


def wilson_interval(
    rate: float, count: float, *, level: float = 0.95, quantile: float | None = None
) -> tuple[float, float]:
    """Wilson's score interval; `count` may be an effective number of items, `quantile` replaces the normal one."""
    z = quantile if quantile is not None else float(scipy.special.ndtri(0.5 + level / 2))
    scale = 1 + z**2 / count
    centre = (rate + z**2 / (2 * count)) / scale
    half = z / scale * math.sqrt(max(rate * (1 - rate), 0.0) / count + z**2 / (4 * count**2))
    # At the ends the bound is exact; rounding would put it a hair outside.
    return (0.0 if rate == 0 else centre - half), (1.0 if rate == 1 else centre + half)


def clopper_pearson_interval(right: int, count: int, *, level: float = 0.95) -> tuple[float, float]:
    """Exact interval: never covers less than `level`, often more."""
    tail = (1 - level) / 2
    low = 0.0 if right == 0 else float(scipy.special.betaincinv(right, count - right + 1, tail))
    high = 1.0 if right == count else float(scipy.special.betaincinv(right + 1, count - right, 1 - tail))
    return low, high
