"""The family between likelihood and probability, for supervised fine-tuning.

    f_α(p) = (1 − p^α) / α,    f_0(p) = −log p

of the probability p of the given token. Its gradient is p^α times that of −log p: with α > 0 tokens that the policy
finds unlikely weigh less, with α < 0 more. α = 1 is 1 − p, the gradient of dynamic fine-tuning. Thresholded forms drop
the tokens on one side of a probability. Source: Li et al. 2025, arXiv:2510.00526.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from trainer.losses.likelihood import summed_objective

LARGEST_EXPONENT = 30.0
"""p^α is let grow to e^30. Where α < 0 and p is smaller still, f_α continues in a straight line of log p."""

Side = Literal["above", "below"]


def f_alpha(logp_K: Tensor, alpha: float) -> Tensor:
    """f_α of each token's log-probability; −expm1(α · logp) / α keeps its digits where α is small."""
    if alpha == 0:
        return -logp_K
    exponent_K = alpha * logp_K
    beyond_K = (exponent_K - LARGEST_EXPONENT).clamp(min=0)
    return -(torch.expm1(exponent_K.clamp(max=LARGEST_EXPONENT)) + math.exp(LARGEST_EXPONENT) * beyond_K) / alpha


def keep_by_threshold(logp_K: Tensor, threshold: float, side: Side) -> Tensor:
    """Which tokens train when only those with p ≥ threshold ("above") or p ≤ threshold ("below") do."""
    limit = math.log(threshold) if threshold > 0 else -math.inf
    return logp_K.detach() >= limit if side == "above" else logp_K.detach() <= limit


def summed_f_alpha(
    hidden_KH: Tensor,
    weight_VH: Tensor,
    labels_K: Tensor,
    *,
    alpha: float,
    threshold: float | None = None,
    side: Side = "above",
    chunk: int | None = None,
) -> tuple[Tensor, int]:
    """Σ f_α over the positions, or over those on that side of the threshold, and how many these are."""
    kept = 0

    def measure(logp_C: Tensor, rows: slice) -> Tensor:
        nonlocal kept
        values_C = f_alpha(logp_C, alpha)
        if threshold is None:
            kept += len(logp_C)
            return values_C
        keep_C = keep_by_threshold(logp_C, threshold, side)
        kept += int(keep_C.sum())
        return values_C * keep_C

    total, _ = summed_objective(hidden_KH, weight_VH, labels_K, measure, chunk=chunk)
    return total, kept
