"""Two models on the same items: how far apart, how sure, and the one verdict that follows."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from chanote.boards.statistics.bayes import chance_better
from chanote.boards.statistics.clustered import SMALL_ITEMS, number_clusters
from chanote.boards.statistics.holm import adjust_holm
from chanote.boards.statistics.pairs import PairTests, examine_pairs
from chanote.boards.statistics.permutation import RESAMPLES, SEED
from chanote.boards.statistics.power import LEVEL, detectable_difference


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
    def chance(self) -> float | None:
        """Posterior probability that A is the better one, by a flat prior; None for graded scores, for clusters, and
        for so many items that the test says all there is."""
        if self.only_a is None or self.only_b is None or self.clusters != self.count or self.count >= SMALL_ITEMS:
            return None
        return chance_better(self.only_a, self.only_b)

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

    The test is chosen as `pairs.examine_pairs` says.
    """
    a, b = np.asarray(a_scores, dtype=np.float64), np.asarray(b_scores, dtype=np.float64)
    if a.size != b.size:
        raise ValueError(f"{a.size} scores against {b.size}: a paired comparison needs the same items")
    tests = examine_pairs(
        np.stack([a, b]),
        np.ones((2, a.size), dtype=bool),
        number_clusters(clusters, a.size),
        (np.array([0]), np.array([1])),
        margin=margin,
        resamples=resamples,
        seed=seed,
    )
    return describe_pairs(tests, margin=margin, higher_is_better=higher_is_better)[0]


def describe_pairs(tests: PairTests, *, margin: float, higher_is_better: bool) -> list[Comparison]:
    """Each pair with its verdict after Holm over all of them, and what its items could have shown at that level."""
    defined = np.flatnonzero(tests.units >= 2)
    family = defined.size
    p, p_equivalence = (np.full(tests.p.size, np.nan) for _ in range(2))
    p[defined], p_equivalence[defined] = adjust_holm(tests.p[defined]), adjust_holm(tests.p_equivalence[defined])
    quantiles = detectable_difference(1.0, family=max(1, family))
    # Plain lists: a value taken from an array one at a time is a hundred times slower.
    columns = (
        tests.delta, tests.count, tests.units, tests.only_a, tests.only_b, tests.binary, tests.low, tests.high,
        tests.error, tests.variance, tests.p, p, p_equivalence,
    )  # fmt: skip
    rows = zip(*(column.tolist() for column in columns), tests.method, strict=True)
    return [_describe_pair(row, family, quantiles, margin=margin, higher_is_better=higher_is_better) for row in rows]


def _describe_pair(
    row: tuple[Any, ...], family: int, quantiles: float, *, margin: float, higher_is_better: bool
) -> Comparison:
    delta, count, units, only_a, only_b, binary, low, high, error, variance, p, adjusted, equivalence, method = row
    known = {
        "delta": delta if count else None,
        "count": count,
        "clusters": units,
        "only_a": only_a if binary else None,
        "only_b": only_b if binary else None,
        "margin": margin,
        "higher_is_better": higher_is_better,
    }
    if units < 2:
        return Comparison(**known)
    target = max(abs(delta), margin)
    return Comparison(
        **known,
        low=_finite(low),
        high=_finite(high),
        error=error,
        variance=variance,
        p=p,
        p_adjusted=adjusted,
        p_equivalence=equivalence,
        method=method,
        detectable=quantiles * error if error > 0 else None,
        needed=math.ceil(quantiles**2 * variance / target**2) if variance > 0 else None,
        verdict=decide(delta, adjusted, equivalence, higher_is_better=higher_is_better),
        family=family,
    )


def decide(delta: float, p: float, p_equivalence: float, *, higher_is_better: bool) -> Verdict:
    """Better when the difference is significant, equivalent when it is surely within the margin, else undecided."""
    if p < LEVEL and delta != 0:
        return Verdict.A_BETTER if (delta > 0) == higher_is_better else Verdict.B_BETTER
    return Verdict.EQUIVALENT if p_equivalence < LEVEL else Verdict.UNDECIDED


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
