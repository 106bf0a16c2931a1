"""Rollouts → the tensors of a micro-batch for policy gradients. K tokens train, in the order of the flat batch."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from trainer.data.batch import TokenBatch, flatten
from trainer.rollouts.rollout import Rollout


@dataclass(frozen=True)
class RolloutBatch(TokenBatch):
    rollout_K: Tensor
    """Place in the batch of the rollout that each token belongs to."""
    rollouts: int
    advantage_K: Tensor
    weight_K: Tensor
    """Share of each token in the loss of the whole optimiser step."""
    behaviour_logp_K: Tensor
    """By the sampler, at the weights that sampled."""
    old_logp_K: Tensor | None = None
    """By the trainer, at the weights that sampled; None while these are the present ones."""
    reference_logp_K: Tensor | None = None


def flatten_rollouts(rollouts: Sequence[Rollout], weights: Sequence[float], *, device: torch.device) -> RolloutBatch:
    """`weights`: of a token of each rollout. Every rollout must have an advantage."""
    tokens = flatten([rollout.document() for rollout in rollouts], device=device)
    counts = torch.tensor([rollout.sampled for rollout in rollouts])

    def spread(values: Sequence[float | None]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32).repeat_interleave(counts).to(device)

    behaviour = [logp for rollout in rollouts for logp in rollout.sampled_logprobs()]
    return RolloutBatch(
        **{field.name: getattr(tokens, field.name) for field in fields(tokens)},
        rollout_K=torch.arange(len(rollouts)).repeat_interleave(counts).to(device),
        rollouts=len(rollouts),
        advantage_K=spread([rollout.advantage for rollout in rollouts]),
        weight_K=spread(weights),
        behaviour_logp_K=torch.tensor(behaviour, dtype=torch.float32).to(device),
    )


def shares_of_tokens(lengths: Sequence[int], *, aggregation: str, constant: int) -> list[float]:
    """Weight of each token of S rollouts with these numbers of trained tokens, in the loss of the optimiser step.

    token_mean: 1/Σ length. sequence_mean: 1/(S · length). constant: 1/(S · constant).
    """
    if not lengths:
        return []
    if aggregation == "token_mean":
        return [1 / sum(lengths)] * len(lengths)
    return [1 / (len(lengths) * (length if aggregation == "sequence_mean" else constant)) for length in lengths]
