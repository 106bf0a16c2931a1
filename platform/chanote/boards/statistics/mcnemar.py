"""Paired right-or-wrong scores: is one model right where the other is wrong more often than the reverse?

Fagerland, Lydersen and Laake 2013 (BMC Medical Research Methodology 13:91) compare both forms. Equal to
`statsmodels.stats.contingency_tables.mcnemar(exact=True)`, for arrays of pairs. Counts may be arrays.
"""

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray


def exact_mcnemar(only_a: ArrayLike, only_b: ArrayLike) -> NDArray[np.float64]:
    """Two-sided p of an even split of the discordant items: min(1, 2 · P(X >= max)), X ~ Binomial(m, 1/2)."""
    discordant, most = np.add(only_a, only_b), np.maximum(only_a, only_b)
    return np.where(discordant == 0, 1.0, np.minimum(1.0, 2 * _reach(most, discordant)))


def mid_mcnemar(only_a: ArrayLike, only_b: ArrayLike) -> NDArray[np.float64]:
    """Mid-p: the exact p less the probability of the observed split itself, 1 - that for an even split.

    Less cautious than the exact p; its level can pass 5 % by a little. Boards decide by the exact one.
    """
    discordant, most = np.add(only_a, only_b), np.maximum(only_a, only_b)
    itself = _reach(most, discordant) - _reach(most + 1, discordant)
    even = np.equal(only_a, only_b)
    return np.where(discordant == 0, 1.0, np.where(even, 1.0 - itself, exact_mcnemar(only_a, only_b) - itself))


def _reach(least: NDArray[np.int64], trials: NDArray[np.int64]) -> NDArray[np.float64]:
    """P(X >= least) of a fair coin."""
    inside = (least >= 1) & (least <= trials)
    chance = scipy.special.bdtrc(np.where(inside, least - 1.0, 0.0), np.maximum(trials, 1), 0.5)
    return np.where(inside, chance, np.where(least < 1, 1.0, 0.0))
