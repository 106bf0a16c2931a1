"""Not worse by more than a margin, and no further apart than it: the claims that "not significant" does not allow.

Two one-sided tests: Schuirmann 1987, Journal of Pharmacokinetics 15:657. The margin is set before the data are seen.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import scipy

from chanote.boards.statistics.clustered import (
    SMALL_CLUSTERS,
    SMALL_ITEMS,
    number_clusters,
    standard_error,
    sum_by_cluster,
)
from chanote.boards.statistics.estimate import is_binary
from chanote.boards.statistics.permutation import RESAMPLES, SignFlips
from chanote.boards.statistics.power import LEVEL
from chanote.boards.statistics.tango import tango_interval, tango_noninferiority_p


@dataclass(frozen=True)
class TwoOneSided:
    p_lower: float
    """Of a true difference of -margin or less."""
    p_upper: float
    """Of a true difference of +margin or more."""

    @property
    def p(self) -> float:
        """Below .05 exactly when the 90 % interval lies within the margin."""
        return max(self.p_lower, self.p_upper)


def two_one_sided(difference: float, error: float, *, freedom: float, margin: float) -> TwoOneSided:
    """TOST by Student's t: (Δ + δ)/SE and (Δ - δ)/SE, with `freedom` degrees (C - 1, or Satterthwaite's).

    As `statsmodels.stats.weightstats.ttost_paired`, for any standard error.
    """
    lower, upper = (difference + margin) / error, (difference - margin) / error
    return TwoOneSided(float(scipy.special.stdtr(freedom, -lower)), float(scipy.special.stdtr(freedom, upper)))


class Retention(StrEnum):
    """Whether a model still knows what it knew."""

    KEPT = "kept"
    """Surely not worse by the margin or more."""
    LOST = "lost"
    """Surely worse."""
    KEPT_BUT_WORSE = "kept_but_worse"
    """Surely worse, but surely by less than the margin."""
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class NonInferiority:
    """New less old, in score units where more is better."""

    delta: float
    low: float
    """One-sided 95 % bound: the true change is above this. -inf where items are too few to bound it."""
    margin: float
    p: float
    """Of the new being worse by the margin or more."""
    p_worse: float
    """Of the new being as good or better."""
    count: int
    clusters: int
    method: str

    @property
    def outcome(self) -> Retention:
        return decide_retention(self.p, self.p_worse)


def decide_retention(p: float, p_worse: float) -> Retention:
    """From the p of "worse by the margin" and of "as good or better", corrected beforehand where there are several."""
    kept, worse = p < LEVEL, p_worse < LEVEL
    if kept:
        return Retention.KEPT_BUT_WORSE if worse else Retention.KEPT
    return Retention.LOST if worse else Retention.UNDECIDED


def check_noninferiority(
    new: Sequence[float],
    old: Sequence[float],
    *,
    margin: float,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
) -> NonInferiority | None:
    """Is the new model not worse than the old one by `margin` or more, on the same items? None below two clusters.

    Right or wrong, each item on its own: Tango's score test. Else Student's t on paired differences with the clustered
    standard error; below 300 items or 30 clusters the sign-flip permutation of whole clusters, and in clusters with
    right-or-wrong scores never surer than the items alone.
    """
    a, b = np.asarray(new, dtype=np.float64), np.asarray(old, dtype=np.float64)
    numbers = number_clusters(clusters, a.size)
    units = int(numbers.max()) + 1 if a.size else 0
    if units < 2:
        return None
    differences = a - b
    delta, count = float(differences.mean()), a.size
    binary = is_binary(a) and is_binary(b)
    alone = (int((differences > 0).sum()), int((differences < 0).sum()), count)

    def by_score() -> tuple[float, float, float]:
        low = float(tango_interval(*alone, level=1 - 2 * LEVEL)[0])
        p = float(tango_noninferiority_p(*alone, margin=margin))
        return low, p, float(scipy.special.bdtr(alone[0], max(1, alone[0] + alone[1]), 0.5)) if any(alone[:2]) else 1.0

    if binary and units == count:
        low, p, p_worse = by_score()
        return NonInferiority(delta, low, margin, p, p_worse, count, units, "Tango score test, exact McNemar")
    if count < SMALL_ITEMS or units < SMALL_CLUSTERS:
        sizes = sum_by_cluster(np.ones_like(differences), numbers)
        flips = SignFlips(sum_by_cluster(differences, numbers)[None], sizes[None], resamples)
        p, p_worse = float(flips.test(0.0, margin).p_above[0]), float(flips.test().p_below[0])
        low = float(flips.lower_bounds(level=1 - LEVEL)[0])
        if binary:
            low_alone, p_alone, _ = by_score()
            low, p = min(low, low_alone), max(p, p_alone)
        return NonInferiority(delta, low, margin, p, p_worse, count, units, f"sign-flip permutation of {units} units")
    error = standard_error(differences, numbers)
    if error == 0:
        return NonInferiority(
            delta, delta, margin, float(delta <= -margin), float(delta >= 0), count, units, "paired t"
        )
    test = two_one_sided(delta, error, freedom=units - 1, margin=margin)
    p_worse = float(scipy.special.stdtr(units - 1, delta / error))
    low = delta - float(scipy.special.stdtrit(units - 1, 1 - LEVEL)) * error
    named = "paired t" if units == count else "paired t, clustered"
    return NonInferiority(delta, low, margin, test.p_lower, p_worse, count, units, named)
