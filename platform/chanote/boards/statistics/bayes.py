"""Rates and paired rates of few items, by a flat prior.

Below a few hundred items intervals from the central limit theorem are too short (Bowyer, Aitchison and Ivanova 2025,
arXiv:2503.01747). A flat prior gives closed forms that stay honest down to a single item.
"""

from dataclasses import dataclass

import scipy


@dataclass(frozen=True)
class Credible:
    mean: float
    low: float
    high: float


def credible_rate(right: int, count: int, *, level: float = 0.95) -> Credible:
    """Posterior Beta(1 + right, 1 + wrong) of a rate: its mean and central interval."""
    a, b = right + 1, count - right + 1
    tail = (1 - level) / 2
    low, high = (float(scipy.special.betaincinv(a, b, share)) for share in (tail, 1 - tail))
    return Credible(a / (a + b), low, high)


def chance_better(only_a: int, only_b: int) -> float:
    """Posterior probability that A's true rate is above B's, from the same items.

    With a flat Dirichlet over (both, only A, only B, neither), A is above B exactly when the share of "only A" among
    the discordant items, Beta(only_a + 1, only_b + 1), is above one half. Items on which both agree play no part.
    """
    return float(scipy.special.betainc(only_b + 1, only_a + 1, 0.5))
