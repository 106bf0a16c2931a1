"""Policy-gradient losses of sampled tokens. K tokens of several rollouts; log-probabilities at the temperature at which
they were sampled. All of them are to be minimised.

With r = π/π_old of a token and its advantage A:

    −min(r·A, clip(r, 1 − ε_low, 1 + ε_high)·A)                     Schulman et al. 2017, arXiv:1707.06347, eq. 7
    two values of ε: Yu et al. 2025, arXiv:2503.14476, section 3.1
    dual clip: where A < 0 the loss is at most c·|A|                 Ye et al. 2020, arXiv:1912.09729, eq. 5
    r of the rollout, exp(mean over its tokens of log π/π_old)       Zheng et al. 2025, arXiv:2507.18071, eq. 7
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Surrogate(NamedTuple):
    loss_K: Tensor
    ratio_K: Tensor
    """Detached."""
    clipped_K: Tensor
    """Whether the clip decides the loss, so that the token gives no gradient."""


def clipped_surrogate(
    logp_K: Tensor,
    old_logp_K: Tensor,
    advantage_K: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
    rollout_K: Tensor | None = None,
    rollouts: int = 0,
) -> Surrogate:
    """Loss of every token. With `rollout_K`, the rollout each token belongs to, the ratio is that of the whole rollout.

    On the very policy that sampled, `old_logp_K` is `logp_K.detach()`: the ratio is 1 and its gradient that of logp.
    """
    difference_K = logp_K - old_logp_K
    if rollout_K is not None:
        difference_K = mean_by_rollout(difference_K, rollout_K, rollouts)[rollout_K]
    ratio_K = difference_K.exp()
    raw_K = -ratio_K * advantage_K
    bounded_K = -ratio_K.clamp(1 - clip_low, 1 + clip_high) * advantage_K
    loss_K = torch.maximum(raw_K, bounded_K)
    clipped_K = bounded_K > raw_K
    if dual_clip is not None:
        ceiling_K = -dual_clip * advantage_K
        beyond_K = (advantage_K < 0) & (loss_K > ceiling_K)
        loss_K = torch.where(beyond_K, ceiling_K, loss_K)
        clipped_K = clipped_K | beyond_K
    return Surrogate(loss_K, ratio_K.detach(), clipped_K)


def mean_by_rollout(values_K: Tensor, rollout_K: Tensor, rollouts: int) -> Tensor:
    """Mean of each rollout's values (S,); 0 for a rollout without any."""
    sums_S = values_K.new_zeros(rollouts).index_add(0, rollout_K, values_K)
    counts_S = values_K.new_zeros(rollouts).index_add(0, rollout_K, torch.ones_like(values_K))
    return sums_S / counts_S.clamp(min=1)


def truncated_importance(old_logp_K: Tensor, behaviour_logp_K: Tensor, cap: float) -> Tensor:
    """min(π_old/π_sampler, cap) of every token, without gradient.

    Corrects that sampler and trainer compute the same weights' probabilities in different ways: Yao et al. 2025, "Your
    efficient RL framework secretly brings you off-policy RL training"; the token-level form.
    """
    return (old_logp_K - behaviour_logp_K).detach().exp().clamp(max=cap)


def k3_divergence(logp_K: Tensor, reference_logp_K: Tensor) -> Tensor:
    """Estimate of KL(π ‖ π_ref) at each sampled token: e^d − d − 1 with d = log π_ref − log π; never negative.

    Schulman 2020, "Approximating KL divergence"; Shao et al. 2024, arXiv:2402.03300, equation 4.
    """
    difference_K = reference_logp_K - logp_K
    return torch.expm1(difference_K) - difference_K
