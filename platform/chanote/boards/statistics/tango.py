"""Score interval for the difference of two paired rates (Tango 1998, Statistics in Medicine 17:891)."""

import math

import scipy


def tango_statistic(only_a: int, only_b: int, count: int, difference: float) -> float:
    """Standardised distance of the observed difference from `difference`; normal when that is the true one.

    z = (b - c - nλ) / sqrt(n (2q + λ(1 - λ))), where q is the likeliest rate of "only B right" given the difference λ.
    """
    square = 2 * count
    linear = -only_a - only_b + (2 * count - only_a + only_b) * difference
    constant = -only_b * difference * (1 - difference)
    q = (math.sqrt(max(linear**2 - 4 * square * constant, 0.0)) - linear) / (2 * square)
    variance = count * (2 * q + difference * (1 - difference))
    distance = only_a - only_b - count * difference
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def tango_interval(only_a: int, only_b: int, count: int, *, level: float = 0.95) -> tuple[float, float]:
    """All differences that the score test does not reject at `level`."""
    z = float(scipy.stats.norm.ppf(0.5 + level / 2))
    observed = (only_a - only_b) / count

    def bound(limit: float, wanted: float) -> float:
        if observed == limit:
            return limit
        end = limit * (1 - 1e-12)
        return float(
            scipy.optimize.brentq(lambda d: _clip(tango_statistic(only_a, only_b, count, d)) - wanted, observed, end)
        )

    return bound(-1.0, z), bound(1.0, -z)


def tango_equivalence_p(only_a: int, only_b: int, count: int, *, margin: float) -> float:
    """The larger p of the two one-sided score tests that the difference lies beyond -margin or +margin."""
    above = float(scipy.stats.norm.sf(tango_statistic(only_a, only_b, count, -margin)))
    below = float(scipy.stats.norm.cdf(tango_statistic(only_a, only_b, count, margin)))
    return max(above, below)


def _clip(value: float) -> float:
    return max(-1e9, min(1e9, value))
