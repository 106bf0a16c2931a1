"""Log-probabilities of given tokens, and sums of losses that depend on nothing else."""

from collections.abc import Callable
from typing import Any, Literal, overload

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainer.losses.head import (
    HeadGradient,
    give_gradient,
    keep_gradient,
    matching,
    rows_at_once,
    scaled_logits,
    without_autocast,
)

IGNORED = -100
"""Label of a position whose next token is no target."""

Objective = Callable[[Tensor, slice], Tensor]
"""(logp_C, rows) → loss of each of these positions, from its own log-probability alone. `rows` are their places in K,
for looking up what belongs to them: an advantage, a behaviour log-probability. Differentiable in logp_C."""


def summed_nll(hidden_NH: Tensor, weight_VH: Tensor, labels_N: Tensor, *, chunk: int | None = None) -> Tensor:
    """Σ −log softmax(hidden · weightᵀ)[label] over the positions that have a target; 0 when none has."""
    kept_K = labels_N != IGNORED
    total, _ = summed_objective(hidden_NH[kept_K], weight_VH, labels_N[kept_K], _negate, chunk=chunk)
    return total


def _negate(logp_C: Tensor, rows: slice) -> Tensor:
    return -logp_C


def summed_objective(
    hidden_KH: Tensor,
    weight_VH: Tensor,
    labels_K: Tensor,
    objective: Objective,
    *,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Σ objective(log π(label)) and, detached, the log-probabilities (K,).

    The gradient is formed in the forward pass, while a chunk's logits exist:
    ∂/∂logits = objective′ · (onehot(label) − softmax). Nothing is computed twice, but one backward pass is all it can.
    """
    result: tuple[Tensor, Tensor] = _SummedObjective.apply(
        hidden_KH, weight_VH, labels_K, objective, temperature, chunk or rows_at_once(len(weight_VH), hidden_KH.device)
    )
    return result


class _SummedObjective(torch.autograd.Function):
    @staticmethod
    @without_autocast
    def forward(
        ctx: Any,
        hidden_KH: Tensor,
        weight_VH: Tensor,
        labels_K: Tensor,
        objective: Objective,
        temperature: float,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        wanted = ctx.needs_input_grad[:2]
        gradient = HeadGradient(hidden_KH, weight_VH, wanted, temperature)
        cast_VH = gradient.weight_VH
        logp_K = hidden_KH.new_zeros(len(labels_K), dtype=_wide(hidden_KH))
        total = logp_K.new_zeros(())
        for start in range(0, len(labels_K), chunk):
            rows = slice(start, start + chunk)
            label_C1 = labels_K[rows, None]
            logp_CV = torch.log_softmax(scaled_logits(hidden_KH[rows], cast_VH, temperature), dim=-1)
            logp_C = logp_K[rows] = logp_CV.gather(1, label_C1)[:, 0]
            with torch.enable_grad():
                leaf_C = logp_C.detach().requires_grad_()
                loss = objective(leaf_C, rows).sum()
                total += loss.detach()
                if not any(wanted) or not loss.requires_grad:
                    continue
                [rise_C] = torch.autograd.grad(loss, leaf_C)
            slope_CV = logp_CV.exp_().mul_(-rise_C[:, None])
            gradient.add(rows, slope_CV.scatter_add_(1, label_C1, rise_C[:, None]))
            del logp_CV, slope_CV
        ctx.mark_non_differentiable(logp_K)
        keep_gradient(ctx, gradient)
        return total, logp_K

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, ignored: Tensor) -> tuple[Tensor | None, ...]:
        return *give_gradient(ctx, grad), None, None, None, None


@overload
def token_logprobs(
    hidden_KH: Tensor,
    weight_VH: Tensor,
    labels_K: Tensor,
    *,
    temperature: float = 1.0,
    chunk: int | None = None,
    with_entropy: Literal[False] = False,
) -> Tensor: ...


@overload
def token_logprobs(
    hidden_KH: Tensor,
    weight_VH: Tensor,
    labels_K: Tensor,
    *,
    temperature: float = 1.0,
    chunk: int | None = None,
    with_entropy: Literal[True],
) -> tuple[Tensor, Tensor]: ...


def token_logprobs(
    hidden_KH: Tensor,
    weight_VH: Tensor,
    labels_K: Tensor,
    *,
    temperature: float = 1.0,
    chunk: int | None = None,
    with_entropy: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """log softmax(hidden · weightᵀ / temperature)[label] for each position, differentiable in hidden and weight.

    Logits exist for `chunk` positions at a time and are formed again in the backward pass; when all positions fit one
    chunk, their probabilities are kept instead. `with_entropy` adds, without gradient, the entropy −Σ p log p (nats)
    of each position's distribution at that temperature. Every label must be an entry of the vocabulary.
    """
    logp_K, entropy_K = _TokenLogprobs.apply(
        hidden_KH,
        weight_VH,
        labels_K,
        temperature,
        chunk or rows_at_once(len(weight_VH), hidden_KH.device),
        with_entropy,
    )
    return (logp_K, entropy_K) if with_entropy else logp_K


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    @without_autocast
    def forward(
        ctx: Any,
        hidden_KH: Tensor,
        weight_VH: Tensor,
        labels_K: Tensor,
        temperature: float,
        chunk: int,
        with_entropy: bool,
    ) -> tuple[Tensor, Tensor]:
        cast_VH = matching(weight_VH, hidden_KH)
        logp_K = hidden_KH.new_zeros(len(labels_K), dtype=_wide(hidden_KH))
        entropy_K = torch.zeros_like(logp_K) if with_entropy else logp_K.new_zeros(0)
        keeps = len(labels_K) <= chunk and any(ctx.needs_input_grad)
        probability_KV = None
        for start in range(0, len(labels_K), chunk):
            rows = slice(start, start + chunk)
            logp_CV = torch.log_softmax(scaled_logits(hidden_KH[rows], cast_VH, temperature), dim=-1)
            logp_K[rows] = logp_CV.gather(1, labels_K[rows, None])[:, 0]
            if with_entropy:
                entropy_K[rows] = -(logp_CV.exp() * logp_CV).sum(dim=-1)
            if keeps:
                probability_KV = logp_CV.exp_()
            del logp_CV
        ctx.save_for_backward(hidden_KH, weight_VH, labels_K, probability_KV)
        ctx.temperature, ctx.chunk = temperature, chunk
        ctx.mark_non_differentiable(entropy_K)
        return logp_K, entropy_K

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, rise_K: Tensor, ignored: Tensor) -> tuple[Tensor | None, ...]:
        hidden_KH, weight_VH, labels_K, probability_KV = ctx.saved_tensors
        gradient = HeadGradient(hidden_KH, weight_VH, ctx.needs_input_grad[:2], ctx.temperature)
        cast_VH = gradient.weight_VH
        with torch.autocast(hidden_KH.device.type, enabled=False):
            for start in range(0, len(labels_K), ctx.chunk):
                rows = slice(start, start + ctx.chunk)
                rise_C1 = rise_K[rows, None]
                if probability_KV is None:
                    logits_CV = scaled_logits(hidden_KH[rows], cast_VH, ctx.temperature)
                    slope_CV = torch.softmax(logits_CV, dim=-1).mul_(-rise_C1)
                    del logits_CV
                else:
                    slope_CV = probability_KV * -rise_C1
                gradient.add(rows, slope_CV.scatter_add_(1, labels_K[rows, None], rise_C1))
                del slope_CV
        return *gradient.finish(), None, None, None, None


def _wide(hidden_KH: Tensor) -> torch.dtype:
    return torch.float64 if hidden_KH.dtype == torch.float64 else torch.float32
