"""Score interval for the difference of two paired rates (Tango 1998, Statistics in Medicine 17:891).

statsmodels has no score interval for paired rates; the interval is checked against a direct search for the likeliest
nuisance parameter in the tests. Counts may be arrays: each place is a pair of models of its own.
"""

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

_STEPS = 48
"""Halvings of an interval no longer than 2: to fourteen digits."""


def tango_statistic(
    only_a: ArrayLike, only_b: ArrayLike, count: ArrayLike, difference: ArrayLike
) -> NDArray[np.float64]:
    """Standardised distance of the observed difference from `difference`; normal when that is the true one.

    z = (b - c - nλ) / sqrt(n (2q + λ(1 - λ))), where q is the likeliest rate of "only B right" given the difference λ.
    """
    a, b, n, given = (np.asarray(value, dtype=np.float64) for value in (only_a, only_b, count, difference))
    square = 2 * n
    linear = -a - b + (2 * n - a + b) * given
    constant = -b * given * (1 - given)
    q = (np.sqrt(np.maximum(linear**2 - 4 * square * constant, 0.0)) - linear) / (2 * square)
    variance = n * (2 * q + given * (1 - given))
    distance = a - b - n * given
    known = variance > 0
    spread = np.sqrt(np.where(known, variance, 1.0))
    return np.where(known, distance / spread, np.where(distance == 0, 0.0, np.copysign(np.inf, distance)))


def tango_interval(
    only_a: ArrayLike, only_b: ArrayLike, count: ArrayLike, *, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All differences that the score test does not reject at `level`."""
    z = float(scipy.special.ndtri(0.5 + level / 2))
    a, b, n = (np.asarray(value, dtype=np.float64) for value in (only_a, only_b, count))
    observed = (a - b) / n

    def bound(limit: float, wanted: float) -> NDArray[np.float64]:
        # The statistic falls as the difference grows: halve what lies between the observed difference and the end.
        near, far = observed, np.full_like(observed, limit * (1 - 1e-12))
        for _ in range(_STEPS):
            half = (near + far) / 2
            beyond = (tango_statistic(a, b, n, half) - wanted) * -limit >= 0
            near, far = np.where(beyond, near, half), np.where(beyond, half, far)
        return np.where(observed == limit, limit, far)

    return bound(-1.0, z), bound(1.0, -z)


def tango_noninferiority_p(
    only_a: ArrayLike, only_b: ArrayLike, count: ArrayLike, *, margin: float
) -> NDArray[np.float64]:
    """One-sided p of the true difference being -margin or less."""
    return scipy.special.ndtr(-tango_statistic(only_a, only_b, count, -margin))


def tango_equivalence_p(
    only_a: ArrayLike, only_b: ArrayLike, count: ArrayLike, *, margin: float
) -> NDArray[np.float64]:
    """The larger p of the two one-sided score tests that the difference lies beyond -margin or +margin."""
    below = scipy.special.ndtr(tango_statistic(only_a, only_b, count, margin))
    return np.maximum(tango_noninferiority_p(only_a, only_b, count, margin=margin), below)
