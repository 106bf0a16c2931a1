"""Pairs of answers in a batch: documents 2b and 2b + 1 are the preferred and the other answer of pair b."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainer.losses import IGNORED, token_logprobs
from trainer.losses.preference import PreferenceLoss, preference_losses, preference_margin

if TYPE_CHECKING:
    from trainer.data.batch import TokenBatch
    from trainer.policy import Policy
    from trainer.reference import Reference


def answer_logprobs(policy: "Policy", batch: "TokenBatch") -> Tensor:
    """log π of each document's targets, summed (D,), differentiable in the weights."""
    target_N = batch.labels_N != IGNORED
    logp_K = token_logprobs(
        policy.hidden(batch)[target_N], policy.model.get_output_embeddings().weight, batch.labels_N[target_N]
    )
    lengths_D = torch.tensor(batch.document_lengths, device=logp_K.device)
    document_N = torch.repeat_interleave(torch.arange(len(lengths_D), device=logp_K.device), lengths_D)
    return logp_K.new_zeros(len(lengths_D)).index_add(0, document_N[target_N], logp_K)


def compare_pairs(
    policy: "Policy", reference: "Reference", batch: "TokenBatch", *, beta: float, loss: PreferenceLoss
) -> tuple[Tensor, dict[str, tuple[float, float]]]:
    """Loss of each pair (B,), and what is reported of them: sums over pairs with the number of pairs.

    `margin` is h in nats; `accuracy` the share of pairs whose preferred answer gained more than the other; `chosen` and
    `rejected` are log π − log π_ref of either: when both fall, likelihood goes to neither.
    """
    chosen_B, rejected_B = answer_logprobs(policy, batch).view(-1, 2).unbind(dim=1)
    with torch.no_grad():
        ref_chosen_B, ref_rejected_B = answer_logprobs(reference.policy, batch).view(-1, 2).unbind(dim=1)
    margin_B = preference_margin(chosen_B, rejected_B, ref_chosen_B, ref_rejected_B)
    pairs = len(margin_B)
    reported: dict[str, tuple[float, float]] = {
        "preference/margin": (margin_B.sum().item(), pairs),
        "preference/accuracy": ((margin_B > 0).float().sum().item(), pairs),
        "preference/chosen": ((chosen_B - ref_chosen_B).sum().item(), pairs),
        "preference/rejected": ((rejected_B - ref_rejected_B).sum().item(), pairs),
    }
    return preference_losses(margin_B, beta=beta, loss=loss), reported
