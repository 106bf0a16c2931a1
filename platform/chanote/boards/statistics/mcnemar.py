"""Paired right-or-wrong scores: is one model right where the other is wrong more often than the reverse?"""

import scipy


def exact_mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p of an even split of the discordant items: min(1, 2 · P(X >= max)), X ~ Binomial(m, 1/2)."""
    discordant = only_a + only_b
    if discordant == 0:
        return 1.0
    return min(1.0, 2 * float(scipy.stats.binom.sf(max(only_a, only_b) - 1, discordant, 0.5)))


def mid_mcnemar(only_a: int, only_b: int) -> float:
    """Mid-p: the exact p less the probability of the observed split itself."""
    discordant = only_a + only_b
    if discordant == 0 or only_a == only_b:
        return 1.0 if discordant == 0 else 1.0 - float(scipy.stats.binom.pmf(only_a, discordant, 0.5))
    return exact_mcnemar(only_a, only_b) - float(scipy.stats.binom.pmf(max(only_a, only_b), discordant, 0.5))
