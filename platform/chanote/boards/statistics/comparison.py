"""Two models on the same items: how far apart, how sure, and the one verdict that follows."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import scipy
from numpy.typing import NDArray

from chanote.boards.statistics.clustered import (
    SMALL_CLUSTERS,
    SMALL_ITEMS,
    Floats,
    number_clusters,
    standard_error,
)
from chanote.boards.statistics.estimate import is_binary
from chanote.boards.statistics.mcnemar import exact_mcnemar
from chanote.boards.statistics.permutation import RESAMPLES, SEED, SignFlip
from chanote.boards.statistics.power import LEVEL, detectable_difference, items_needed
from chanote.boards.statistics.tango import tango_equivalence_p, tango_interval


class Verdict(StrEnum):
    A_BETTER = "a_better"
    B_BETTER = "b_better"
    EQUIVALENT = "equivalent"
    """Within the margin. Not the same as "no difference found"."""
    UNDECIDED = "undecided"
    UNDEFINED = "undefined"
    """Fewer than two independent items in common."""


_TURNED = {Verdict.A_BETTER: Verdict.B_BETTER, Verdict.B_BETTER: Verdict.A_BETTER}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A less B. Differences are in score units; what is not defined is None."""

    delta: float | None
    count: int
    clusters: int
    only_a: int | None
    """Items that A alone has right; None for graded scores."""
    only_b: int | None
    margin: float
    higher_is_better: bool
    low: float | None = None
    high: float | None = None
    error: float | None = None
    """Standard error of the paired difference."""
    variance: float | None = None
    """Variance of one item's difference, clusters counted in: n times the squared error, or a cautious floor."""
    p: float | None = None
    p_adjusted: float | None = None
    """After Holm over the `family` of comparisons shown together."""
    p_equivalence: float | None = None
    """Two one-sided tests at the margin, after Holm likewise."""
    method: str = "undefined"
    detectable: float | None = None
    """Difference that these items would have shown with 80 % probability, at the family's level."""
    needed: int | None = None
    """Items needed to find a difference of `target` with 80 % probability, at the family's level."""
    verdict: Verdict = Verdict.UNDEFINED
    family: int = 1
    failed_a: int = 0
    failed_b: int = 0
    withheld: Verdict | None = None
    """The verdict that was taken back, because it changes with how failed answers are counted."""
    answered: Verdict | None = None
    """The verdict on items that both answered, where it is another one."""

    @property
    def target(self) -> float:
        """Difference worth finding: the one seen, but never less than the margin."""
        return max(abs(self.delta or 0.0), self.margin)

    def turned(self) -> "Comparison":
        """The same comparison seen from B: B less A."""
        return replace(
            self,
            delta=None if self.delta is None else -self.delta,
            low=None if self.high is None else -self.high,
            high=None if self.low is None else -self.low,
            only_a=self.only_b,
            only_b=self.only_a,
            failed_a=self.failed_b,
            failed_b=self.failed_a,
            verdict=_TURNED.get(self.verdict, self.verdict),
            withheld=_TURNED.get(self.withheld, self.withheld) if self.withheld else None,
            answered=_TURNED.get(self.answered, self.answered) if self.answered else None,
        )


@dataclass(frozen=True)
class _Test:
    p: float
    p_equivalence: float
    low: float
    high: float
    method: str


def compare(
    a_scores: Sequence[float],
    b_scores: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    margin: float = 0.02,
    higher_is_better: bool = True,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Comparison:
    """Compare two models item by item: `a_scores[i]` and `b_scores[i]` answer the same question.

    Right or wrong, each item on its own: exact McNemar test, Tango's score interval. In clusters or graded: Student's
    t on paired differences with the clustered standard error, but below 300 items or 30 clusters the sign-flip
    permutation of whole clusters and the interval it inverts to.
    """
    a, b = np.asarray(a_scores, dtype=np.float64), np.asarray(b_scores, dtype=np.float64)
    if a.size != b.size:
        raise ValueError(f"{a.size} scores against {b.size}: a paired comparison needs the same items")
    numbers = number_clusters(clusters, a.size)
    units = int(numbers.max()) + 1 if a.size else 0
    binary = is_binary(a) and is_binary(b)
    only_a, only_b = int((a > b).sum()), int((b > a).sum())
    undefined = Comparison(
        delta=float((a - b).mean()) if a.size else None,
        count=a.size,
        clusters=units,
        only_a=only_a if binary else None,
        only_b=only_b if binary else None,
        margin=margin,
        higher_is_better=higher_is_better,
    )
    if units < 2 or undefined.delta is None:
        return undefined
    differences = a - b
    error = standard_error(differences, numbers)
    variance = error**2 * a.size
    if binary and units == a.size:
        test = _test_binary(only_a, only_b, a.size, margin)
        # One more discordant item than seen: no disagreement so far does not mean that there never is any.
        variance = max(variance, (only_a + only_b + 1) / (a.size + 2) - undefined.delta**2)
    elif a.size < SMALL_ITEMS or units < SMALL_CLUSTERS:
        test = _test_small(differences, numbers, margin, binary=binary, resamples=resamples, seed=seed)
    else:
        test = _test_large(differences, error, units, margin)
    return replace(
        undefined,
        low=_finite(test.low),
        high=_finite(test.high),
        error=error,
        variance=variance,
        p=test.p,
        p_adjusted=test.p,
        p_equivalence=test.p_equivalence,
        method=test.method,
        detectable=detectable_difference(error) if error > 0 else None,
        needed=items_needed(variance, undefined.target) if variance > 0 else None,
        verdict=decide(undefined.delta, test.p, test.p_equivalence, higher_is_better=higher_is_better),
    )


def decide(delta: float, p: float, p_equivalence: float, *, higher_is_better: bool) -> Verdict:
    """Better when the difference is significant, equivalent when it is surely within the margin, else undecided."""
    if p < LEVEL and delta != 0:
        return Verdict.A_BETTER if (delta > 0) == higher_is_better else Verdict.B_BETTER
    return Verdict.EQUIVALENT if p_equivalence < LEVEL else Verdict.UNDECIDED


def _test_binary(only_a: int, only_b: int, count: int, margin: float) -> _Test:
    low, high = tango_interval(only_a, only_b, count)
    equivalence = tango_equivalence_p(only_a, only_b, count, margin=margin)
    return _Test(exact_mcnemar(only_a, only_b), equivalence, low, high, "exact McNemar, Tango interval")


def _test_small(
    differences: Floats, clusters: NDArray[np.intp], margin: float, *, binary: bool, resamples: int, seed: int
) -> _Test:
    flip = SignFlip(differences, clusters, resamples, seed)
    low, high = flip.interval()
    equivalence = max(flip.one_sided_p(-margin, above=True), flip.one_sided_p(margin, above=False))
    if binary:
        # Few discordant items make the permutation look too sure: it is held to what items alone could show.
        only_a, only_b = int((differences > 0).sum()), int((differences < 0).sum())
        alone = _test_binary(only_a, only_b, differences.size, margin)
        low, high = min(low, alone.low), max(high, alone.high)
        equivalence = max(equivalence, alone.p_equivalence)
    elif flip.units < SMALL_CLUSTERS:
        equivalence = 1.0
    return _Test(flip.p_value(), equivalence, low, high, f"sign-flip permutation of {flip.units} units")


def _test_large(differences: Floats, error: float, units: int, margin: float) -> _Test:
    delta = float(differences.mean())
    law = scipy.stats.t(units - 1)
    if error == 0:
        inside = abs(delta) < margin
        return _Test(float(delta == 0), 0.0 if inside else 1.0, delta, delta, "paired t")
    half = float(law.ppf(0.975)) * error
    equivalence = max(float(law.sf((delta + margin) / error)), float(law.cdf((delta - margin) / error)))
    named = "paired t" if units == differences.size else "paired t, clustered"
    return _Test(2 * float(law.sf(abs(delta) / error)), equivalence, delta - half, delta + half, named)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
