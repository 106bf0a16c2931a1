"""Losses as pure functions. Tensors end in their shape: N tokens, H hidden units, V vocabulary entries."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

IGNORED = -100
"""Label of a position whose next token is no target."""


def summed_nll(hidden_NH: Tensor, weight_VH: Tensor, labels_N: Tensor, *, chunk: int = 1024) -> Tensor:
    """Σ −log softmax(hidden · weightᵀ)[label] over the positions that have a target; 0 when none has.

    A sum, so that the caller divides by the number of targets of the whole optimiser step, however that step is cut
    into micro-batches. Logits exist for `chunk` positions at a time: at 150,000 entries all of them would take more
    memory than the model.
    """
    kept_K = labels_N != IGNORED
    sums: Tensor = _ChunkedNll.apply(hidden_NH[kept_K], weight_VH, labels_N[kept_K], chunk)
    return sums


class _ChunkedNll(torch.autograd.Function):
    """Forms the gradient in the forward pass, while a chunk's logits exist: ∂/∂logits = softmax − onehot(label)."""

    @staticmethod
    def forward(ctx: Any, hidden_KH: Tensor, weight_VH: Tensor, labels_K: Tensor, chunk: int) -> Tensor:
        needed = any(ctx.needs_input_grad[:2])
        grad_KH = torch.zeros_like(hidden_KH) if needed else None
        grad_VH = torch.zeros_like(weight_VH) if needed else None
        total = hidden_KH.new_zeros(())
        for start in range(0, len(labels_K), chunk):
            hidden_CH, labels_C = hidden_KH[start : start + chunk], labels_K[start : start + chunk]
            logp_CV = functional.log_softmax((hidden_CH @ weight_VH.T).float(), dim=-1)
            total = total - logp_CV.gather(1, labels_C[:, None]).sum()
            if grad_KH is not None and grad_VH is not None:
                slope_CV = logp_CV.exp_()
                slope_CV[torch.arange(len(labels_C), device=labels_C.device), labels_C] -= 1
                slope_CV = slope_CV.to(hidden_CH.dtype)
                torch.mm(slope_CV, weight_VH, out=grad_KH[start : start + chunk])
                grad_VH.addmm_(slope_CV.T, hidden_CH)
        if grad_KH is not None and grad_VH is not None:
            ctx.save_for_backward(grad_KH, grad_VH)
        return total

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_KH, grad_VH = ctx.saved_tensors
        return grad_KH * grad[0], grad_VH * grad[0], None, None
