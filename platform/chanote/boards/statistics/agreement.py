"""How far judges agree with people, with each other and with themselves.

Equal to `statsmodels.stats.inter_rater`, against which the tests hold it; the platform does not install it,
and pandas with it, for these sums.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FEWEST_LABELS = 100
"""A judge held against fewer human labels is called uncalibrated."""


@dataclass(frozen=True)
class Agreement:
    kappa: float | None
    """None where chance alone would agree always, so that nothing can be told."""
    observed: float
    expected: float
    count: int


def _relate(observed: float, expected: float, count: int) -> Agreement:
    kappa = None if expected >= 1 - 1e-12 else (observed - expected) / (1 - expected)
    return Agreement(kappa, observed, expected, count)


def cohen_kappa(a: Sequence[Hashable], b: Sequence[Hashable]) -> Agreement:
    """κ = (p_o - p_e) / (1 - p_e) of two raters, p_e from the shares in which each uses the categories (Cohen 1960)."""
    table = _cross(a, b, sorted({*a, *b}, key=repr))
    shares = table / table.sum()
    return _relate(float(np.trace(shares)), float(shares.sum(0) @ shares.sum(1)), len(a))


def weighted_kappa(
    a: Sequence[float], b: Sequence[float], *, weights: Literal["linear", "quadratic"] = "quadratic"
) -> Agreement:
    """κ_w = 1 - Σ w p_o / Σ w p_e with w = |i - j| or (i - j)² between scores (Cohen 1968): near misses count less.

    Distances are those of the scores themselves, so that 1 and 3 are apart though nobody gave 2. Observed and expected
    are 1 less the mean distance over the largest one.
    """
    levels = sorted({*a, *b})
    table = _cross(a, b, levels)
    shares = table / table.sum()
    values = np.array(levels, dtype=np.float64)
    distance = np.abs(values[:, None] - values) ** (1 if weights == "linear" else 2)
    largest = float(distance.max()) or 1.0
    expected = np.outer(shares.sum(1), shares.sum(0))
    return _relate(
        1 - float((distance * shares).sum()) / largest, 1 - float((distance * expected).sum()) / largest, len(a)
    )


def fleiss_kappa(counts: NDArray[np.int64]) -> Agreement:
    """Of many raters: `counts` (items, categories) says how many raters put the item there (Fleiss 1971).

    P_i = (Σ_j n_ij² - n) / (n (n - 1)), κ = (mean P_i - Σ p_j²) / (1 - Σ p_j²). Every item needs as many raters.
    """
    raters = counts.sum(1)
    if (raters != raters[0]).any() or raters[0] < 2:
        raise ValueError(
            f"Fleiss' kappa needs the same number of raters, two or more, for each item; here {raters.min()} to "
            f"{raters.max()}"
        )
    n = int(raters[0])
    agree = (np.square(counts).sum(1) - n) / (n * (n - 1))
    shares = counts.sum(0) / counts.sum()
    return _relate(float(agree.mean()), float(shares @ shares), len(counts))


@dataclass(frozen=True)
class Consistency:
    """Verdicts on pairs that a judge saw in both orders."""

    pairs: int
    same: int
    """Pairs on which it named the same answer both times."""
    first: int
    """Pairs on which it named whichever stood first."""
    second: int

    @property
    def share(self) -> float | None:
        return self.same / self.pairs if self.pairs else None


def position_consistency(given: Sequence[str], swapped: Sequence[str]) -> Consistency:
    """`given` says a, b or tie; `swapped` the same after the answers changed places: a is still the one standing first.

    Inconsistent pairs count as ties in a win rate (Zheng et al. 2023, arXiv:2306.05685).
    """
    other = {"a": "b", "b": "a"}
    pairs = list(zip(given, swapped, strict=True))
    return Consistency(
        pairs=len(pairs),
        same=sum(other.get(after, after) == before for before, after in pairs),
        first=sum(before == after == "a" for before, after in pairs),
        second=sum(before == after == "b" for before, after in pairs),
    )


def majority_vote(votes: Sequence[str], *, tie: str = "tie") -> str:
    """The category that most raters chose; several with as many make a tie."""
    counts = {vote: list(votes).count(vote) for vote in votes}
    most = [vote for vote, count in counts.items() if count == max(counts.values())]
    return most[0] if len(most) == 1 else tie


def _cross(a: Sequence[Hashable], b: Sequence[Hashable], levels: Sequence[Hashable]) -> NDArray[np.float64]:
    if len(a) != len(b) or not a:
        raise ValueError(f"{len(a)} ratings against {len(b)}: agreement needs the same items, at least one")
    place = {level: number for number, level in enumerate(levels)}
    table = np.zeros((len(levels), len(levels)))
    np.add.at(table, ([place[one] for one in a], [place[one] for one in b]), 1)
    return table
