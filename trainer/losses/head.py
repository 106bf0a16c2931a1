"""The head of a model, a piece at a time: logits of some positions, and what their slopes give back."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

LOGITS_AT_ONCE_CPU = 1 << 22
"""Logits formed at a time: 16 MiB in fp32, about what a core's share of the cache holds."""
LOGITS_AT_ONCE_GPU = 1 << 27
"""512 MiB: with fewer positions at a time a GPU would wait for the head's weights."""
FEWEST_ROWS = 128
"""Each chunk passes once over the whole weight and its gradient, so that chunks must not get too small."""

Result = TypeVar("Result")
HALF = (torch.bfloat16, torch.float16)


def rows_at_once(vocabulary: int, device: torch.device) -> int:
    """Positions whose logits are formed together, when the caller does not say."""
    most = LOGITS_AT_ONCE_CPU if device.type == "cpu" else LOGITS_AT_ONCE_GPU
    return max(FEWEST_ROWS, most // vocabulary)


def matching(weight_VH: Tensor, hidden_KH: Tensor) -> Tensor:
    """The head's weight in the precision it is multiplied in; a copy only where that is another than its own.

    That is the precision of the hidden states, and on a CPU, which is slow with half precision, single instead.
    """
    half = hidden_KH.dtype in HALF
    return weight_VH.to(torch.float32 if half and hidden_KH.device.type == "cpu" else hidden_KH.dtype)


def multiply(left: Tensor, right: Tensor) -> Tensor:
    """Matrix product of tensors of one precision, summed and given in at least single precision."""
    return torch.mm(left, right, out_dtype=torch.float32) if left.dtype in HALF else left @ right


def scaled_logits(hidden_CH: Tensor, weight_VH: Tensor, temperature: float) -> Tensor:
    """Logits (C, V) in at least fp32, divided by the temperature. The weight comes from `matching`.

    Half precision would round a logit of 30 to the next eighth, and with it every probability by a twentieth.
    """
    logits_CV = multiply(hidden_CH.to(weight_VH.dtype), weight_VH.T)
    return logits_CV if temperature == 1.0 else logits_CV.div_(temperature)


def without_autocast(function: Callable[..., Result]) -> Callable[..., Result]:
    """For the forward half of an autograd function: precision is chosen here, not by the caller's autocast."""

    @wraps(function)
    def run(ctx: Any, first: Tensor, *rest: Any) -> Result:
        with torch.autocast(first.device.type, enabled=False):
            return function(ctx, first, *rest)

    return run


class HeadGradient:
    """∂loss/∂hidden and ∂loss/∂weight, collected from the slopes ∂loss/∂logits of one chunk after the other.

    The weight's gradient is summed in fp32 where the weight has fewer bits: dozens of chunks are added to it.
    """

    def __init__(self, hidden_KH: Tensor, weight_VH: Tensor, wanted: tuple[bool, bool], temperature: float) -> None:
        self.hidden_KH, self.weight_VH = hidden_KH, matching(weight_VH, hidden_KH)
        self.temperature, self.dtype = temperature, weight_VH.dtype
        self.grad_KH = torch.zeros_like(hidden_KH) if wanted[0] else None
        wide = torch.float64 if weight_VH.dtype == torch.float64 else torch.float32
        self.grad_VH = torch.zeros_like(weight_VH, dtype=wide) if wanted[1] else None

    def add(self, rows: slice, slope_CV: Tensor, entries: slice = slice(None)) -> None:
        """`slope_CV` is ∂loss/∂(logits / temperature) of the positions `rows` and the vocabulary's `entries`."""
        if self.temperature != 1.0:
            slope_CV = slope_CV.div_(self.temperature)
        slope_CV = slope_CV.to(self.weight_VH.dtype)
        if self.grad_KH is not None:
            self.grad_KH[rows] += slope_CV @ self.weight_VH[entries]
        if self.grad_VH is not None:
            hidden_CH = self.hidden_KH[rows].to(slope_CV.dtype)
            if self.grad_VH.dtype == slope_CV.dtype:
                self.grad_VH[entries].addmm_(slope_CV.T, hidden_CH)
            else:
                self.grad_VH[entries] += multiply(slope_CV.T, hidden_CH)

    def finish(self) -> tuple[Tensor | None, Tensor | None]:
        return self.grad_KH, None if self.grad_VH is None else self.grad_VH.to(self.dtype)


def keep_gradient(ctx: Any, gradient: HeadGradient) -> None:
    """Leave what the forward pass has formed for `give_gradient`."""
    ctx.formed = list(gradient.finish())


def give_gradient(ctx: Any, scale: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """The gradient formed in the forward pass times `scale`, in place: a second weight-sized copy would cost as much
    memory as the rest together. So it can be given once.
    """
    if ctx.formed is None:
        raise RuntimeError("this loss forms its gradient once; compute the loss again for a second backward pass")
    (grad_KH, grad_VH), ctx.formed = ctx.formed, None
    return tuple(None if grad is None else grad.mul_(scale.to(grad.dtype)) for grad in (grad_KH, grad_VH))  # type: ignore[return-value]
