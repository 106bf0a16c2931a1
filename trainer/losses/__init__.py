"""Losses as pure functions. Tensors end in their shape: N positions, K of them trained, H hidden units, V vocabulary
entries, C positions or entries of a chunk, L entries that a teacher names.

The functions that take hidden states and the weight of the head never hold all K·V logits: they form those of some
positions, use them and let them go (`head.rows_at_once`). All of them sum, and the caller divides by the number of
tokens of the whole optimiser step, however that step is cut into micro-batches. They compute in fp32 whatever the
inputs are. The head must be a plain matrix: no bias, no cap on the logits (`Policy` refuses other models at load).
"""

from trainer.losses.alpha_family import Side, f_alpha, keep_by_threshold, summed_f_alpha
from trainer.losses.jensen_shannon import (
    Divergence,
    divergence,
    divergence_from_logits,
    divergence_within,
    top_logits,
)
from trainer.losses.likelihood import IGNORED, Objective, summed_nll, summed_objective, token_logprobs

__all__ = [
    "IGNORED",
    "Divergence",
    "Objective",
    "Side",
    "divergence",
    "divergence_from_logits",
    "divergence_within",
    "f_alpha",
    "keep_by_threshold",
    "summed_f_alpha",
    "summed_nll",
    "summed_objective",
    "token_logprobs",
    "top_logits",
]
