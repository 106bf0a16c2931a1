"""Rewards of a group → how much better than its group each rollout is."""

import math
from collections.abc import Sequence


def worth_the_same(one: float, other: float) -> bool:
    """Whether two rewards differ by rounding alone: 0.1 + 0.2 is worth no more than 0.3."""
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


def group_advantages(rewards: Sequence[float | None], *, divide_by_std: bool, epsilon: float) -> list[float | None]:
    """A_i = (R_i − mean(R)) / (std(R) + ε) over the G rollouts of a prompt; without the division where not asked for.

    std is over G − 1 (Shao et al. 2024, arXiv:2402.03300, equation 1 leaves it open; TRL and verl take G − 1). Without
    std: Liu et al. 2025, arXiv:2503.20783. A rollout without a reward counts nowhere and gets None. A group whose
    rewards agree teaches nothing: exactly 0, whatever rounding says.
    """
    known = [reward for reward in rewards if reward is not None]
    if not known or worth_the_same(max(known), min(known)):
        return [None if reward is None else 0.0 for reward in rewards]
    mean = math.fsum(known) / len(known)
    scale = 1.0
    if divide_by_std:
        scale = math.sqrt(math.fsum((reward - mean) ** 2 for reward in known) / (len(known) - 1)) + epsilon
    return [None if reward is None else (reward - mean) / scale for reward in rewards]
