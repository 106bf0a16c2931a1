"""Batches of what the student wrote or was given, with what the teacher makes of it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from trainer.data.batch import TokenBatch, flatten
from trainer.losses import IGNORED, divergence, summed_nll, summed_objective
from trainer.policy import Policy
from trainer.rollouts.rollout import Rollout
from trainer.teacher import Teacher


@dataclass(frozen=True)
class DistilBatch(TokenBatch):
    """Documents of one micro-batch, K of their tokens targets."""

    rollouts: Sequence[Rollout]
    on_policy: bool
    """Whether the student wrote the targets itself."""
    teacher_KJ: Tensor
    """The teacher's hidden states from which it predicts the targets, or its log-probabilities of these (K,)."""


def flatten_for_distillation(
    rollouts: Sequence[Rollout], teacher: Sequence[Tensor], *, on_policy: bool, device: torch.device
) -> DistilBatch:
    tokens = flatten([rollout.document() for rollout in rollouts], device=device)
    return DistilBatch(
        **{field.name: getattr(tokens, field.name) for field in fields(TokenBatch)},
        rollouts=rollouts,
        on_policy=on_policy,
        teacher_KJ=torch.cat(list(teacher)),
    )


@dataclass(frozen=True)
class Distilled:
    total: Tensor
    """Σ over the targets of what is differentiated."""
    values_K: Tensor
    """Divergence of each target in nats, detached."""
    nll: Tensor | None = None
    """Σ −log π(target), where it was asked for."""


def distil(
    batch: DistilBatch,
    student: Policy,
    teacher: Teacher,
    *,
    beta: float,
    temperature: float,
    top_k: int | None,
    with_nll: bool,
) -> Distilled:
    """Generalized Jensen-Shannon divergence at the batch's targets."""
    target_N = batch.labels_N != IGNORED
    hidden_KH = student.hidden(batch)[target_N]
    weight_VH = student.model.get_output_embeddings().weight
    found = divergence(
        hidden_KH,
        weight_VH,
        batch.teacher_KJ,
        teacher.weight_UJ,
        beta=beta,
        temperature=temperature,
        top_k=top_k,
        vocabulary=teacher.vocabulary,
    )
    nll = summed_nll(hidden_KH, weight_VH, batch.labels_N[target_N]) if with_nll else None
    return Distilled(found.total, found.values_K, nll)


def distil_sampled(batch: DistilBatch, student: Policy, teacher: Teacher, *, temperature: float) -> Distilled:
    """Reverse KL estimated from the sampled tokens: log π_S − log π_T of each, by policy gradient.

    The value is the estimate and the gradient −(log π_T − log π_S)·∇log π_S, which is that of the KL in expectation.
    """
    target_N = batch.labels_N != IGNORED

    def pull(logp_C: Tensor, rows: slice) -> Tensor:
        gap_C = logp_C.detach() - batch.teacher_KJ[rows]
        return gap_C * torch.exp(logp_C - logp_C.detach())

    total, logp_K = summed_objective(
        student.hidden(batch)[target_N],
        student.model.get_output_embeddings().weight[: teacher.vocabulary],
        batch.labels_N[target_N],
        pull,
        temperature=temperature,
    )
    return Distilled(total, logp_K - batch.teacher_KJ)
