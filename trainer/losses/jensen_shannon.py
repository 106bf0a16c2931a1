"""How far a student's next-token distribution is from a teacher's: generalized Jensen-Shannon divergence.

    β = 0:      KL(T ‖ S)                                forward
    β = 1:      KL(S ‖ T)                                reverse
    between:    β·KL(T ‖ M) + (1 − β)·KL(S ‖ M),         M = β·T + (1 − β)·S

for the teacher's T = softmax(teacher logits / temperature) and the student's S. Source: Agarwal et al. 2023,
arXiv:2306.13649, section 3 (the mixture alone would tend to 0 at both ends, where the two KL stand instead). No factor
temperature² is applied. Slopes by the student's logits over temperature, formed in the forward pass:

    β = 0: S − T        else: S·(g − Σ S·g) with g = log(S/T) for β = 1 and (1 − β)·log(S/M) between.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

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

WORKED_ON_AT_ONCE_CPU = 1 << 16
"""Entries that elementwise arithmetic takes at a time: a quarter MiB for each of its few tensors stays in the cache."""
WORKED_ON_AT_ONCE_GPU = 1 << 24
GATHERED_AT_ONCE = 1 << 24
"""Entries of the head's weight that are gathered at a time for the tokens a teacher names."""


class Divergence(NamedTuple):
    total: Tensor
    """Sum over the positions; differentiable in the student's hidden states and weight, once."""
    values_K: Tensor
    """Of each position, detached."""


TeacherLogits = Callable[[slice, slice], Tensor]
"""(rows, entries) → a new tensor (C, entries) of logits up to a constant per row, already divided by temperature."""


def divergence(
    student_hidden_KH: Tensor,
    student_weight_VH: Tensor,
    teacher_hidden_KJ: Tensor,
    teacher_weight_UJ: Tensor,
    *,
    beta: float,
    temperature: float = 1.0,
    top_k: int | None = None,
    vocabulary: int | None = None,
    chunk: int | None = None,
    entries: int | None = None,
) -> Divergence:
    """Divergence at each of K positions from the last hidden states of both models (H and J units).

    `vocabulary`: the first entries that mean the same token in both; by default all of the smaller head (heads are
    padded to different sizes). `top_k`: only the teacher's likeliest tokens, both distributions renormalised within.
    `chunk` positions at a time; `entries` of the vocabulary at a time, when not even one chunk of whole rows may be
    held: the logits are then formed three times, once for each of normaliser, value and slope.
    """
    _check(student_hidden_KH, len(teacher_hidden_KJ), beta, temperature)
    vocabulary = vocabulary or min(len(student_weight_VH), len(teacher_weight_UJ))
    teacher_hidden_KJ, teacher_weight_UJ = teacher_hidden_KJ.detach(), teacher_weight_UJ.detach()[:vocabulary]
    if top_k is not None and top_k < vocabulary:
        tokens_KL, logits_KL = top_logits(teacher_hidden_KJ, teacher_weight_UJ, top_k, chunk=chunk)
        return divergence_within(
            student_hidden_KH, student_weight_VH, tokens_KL, logits_KL, beta=beta, temperature=temperature
        )
    cast_UJ = matching(teacher_weight_UJ, teacher_hidden_KJ)

    def teacher(rows: slice, columns: slice) -> Tensor:
        return scaled_logits(teacher_hidden_KJ[rows], cast_UJ[columns], temperature)

    return _diverge(student_hidden_KH, student_weight_VH, teacher, beta, temperature, vocabulary, chunk, entries)


def divergence_from_logits(
    student_hidden_KH: Tensor,
    student_weight_VH: Tensor,
    teacher_logits_KU: Tensor,
    *,
    beta: float,
    temperature: float = 1.0,
    vocabulary: int | None = None,
    chunk: int | None = None,
    entries: int | None = None,
) -> Divergence:
    """As `divergence`, from a teacher's stored logits or log-probabilities at temperature 1."""
    _check(student_hidden_KH, len(teacher_logits_KU), beta, temperature)
    vocabulary = vocabulary or min(len(student_weight_VH), teacher_logits_KU.shape[1])
    wide = torch.float64 if teacher_logits_KU.dtype == torch.float64 else torch.float32

    def teacher(rows: slice, columns: slice) -> Tensor:
        kept = teacher_logits_KU.detach()[rows, :vocabulary][:, columns]
        return kept.to(student_hidden_KH.device, wide, copy=True).div_(temperature)

    return _diverge(student_hidden_KH, student_weight_VH, teacher, beta, temperature, vocabulary, chunk, entries)


@torch.no_grad()
def top_logits(
    teacher_hidden_KJ: Tensor, teacher_weight_UJ: Tensor, top_k: int, *, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """The L = `top_k` likeliest tokens of each position (K, L), likeliest first, and their logits at temperature 1."""
    size = min(top_k, len(teacher_weight_UJ))
    tokens_KL = torch.zeros(len(teacher_hidden_KJ), size, dtype=torch.long, device=teacher_hidden_KJ.device)
    wide = torch.float64 if teacher_hidden_KJ.dtype == torch.float64 else torch.float32
    logits_KL = torch.zeros(len(teacher_hidden_KJ), size, dtype=wide, device=teacher_hidden_KJ.device)
    cast_UJ = matching(teacher_weight_UJ, teacher_hidden_KJ)
    step = chunk or rows_at_once(len(teacher_weight_UJ), teacher_hidden_KJ.device)
    with torch.autocast(teacher_hidden_KJ.device.type, enabled=False):
        for start in range(0, len(teacher_hidden_KJ), step):
            rows = slice(start, start + step)
            logits_KL[rows], tokens_KL[rows] = scaled_logits(teacher_hidden_KJ[rows], cast_UJ, 1.0).topk(size, dim=-1)
    return tokens_KL, logits_KL


def divergence_within(
    student_hidden_KH: Tensor,
    student_weight_VH: Tensor,
    tokens_KL: Tensor,
    teacher_logits_KL: Tensor,
    *,
    beta: float,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> Divergence:
    """Divergence of both distributions renormalised within L tokens of each position.

    `teacher_logits_KL` are the teacher's logits or log-probabilities of `tokens_KL` at temperature 1. Only the named
    rows of the student's head are multiplied.
    """
    _check(student_hidden_KH, len(tokens_KL), beta, temperature)
    size = chunk or max(1, GATHERED_AT_ONCE // max(1, tokens_KL.shape[1] * student_hidden_KH.shape[1]))
    total, values_K = _DivergenceWithin.apply(
        student_hidden_KH, student_weight_VH, tokens_KL, teacher_logits_KL.detach(), beta, temperature, size
    )
    return Divergence(total, values_K)


class Comparison(NamedTuple):
    """Of normalised log-probabilities, summed over the entries given."""

    value_C: Tensor
    """The divergence."""
    mean_C: Tensor
    """Σ S·g."""
    student_CL: Tensor
    """S."""
    rise_CL: Tensor
    """g (see above); unused for β = 0."""


def compare(student_logp_CL: Tensor, teacher_logp_CL: Tensor, beta: float) -> Comparison:
    student_CL = student_logp_CL.exp()
    if beta == 0:
        value_C = torch.linalg.vecdot(teacher_logp_CL.exp(), teacher_logp_CL - student_logp_CL)
        return Comparison(value_C, value_C, student_CL, student_logp_CL)
    if beta == 1:
        ratio_CL = student_logp_CL - teacher_logp_CL
        value_C = torch.linalg.vecdot(student_CL, ratio_CL)
        return Comparison(value_C, value_C, student_CL, ratio_CL)
    mixture_CL = torch.logaddexp(teacher_logp_CL + math.log(beta), student_logp_CL + math.log1p(-beta))
    rise_CL = (student_logp_CL - mixture_CL).mul_(1 - beta)
    mean_C = torch.linalg.vecdot(student_CL, rise_CL)
    value_C = beta * torch.linalg.vecdot(teacher_logp_CL.exp(), teacher_logp_CL - mixture_CL) + mean_C
    return Comparison(value_C, mean_C, student_CL, rise_CL)


def _diverge(
    student_hidden_KH: Tensor,
    student_weight_VH: Tensor,
    teacher: TeacherLogits,
    beta: float,
    temperature: float,
    vocabulary: int,
    chunk: int | None,
    entries: int | None,
) -> Divergence:
    chunk = chunk or rows_at_once(min(entries or vocabulary, vocabulary), student_hidden_KH.device)
    total, values_K = _FullDivergence.apply(
        student_hidden_KH, student_weight_VH, teacher, beta, temperature, vocabulary, chunk, entries or vocabulary
    )
    return Divergence(total, values_K)


def _check(student_hidden_KH: Tensor, positions: int, beta: float, temperature: float) -> None:
    if not 0 <= beta <= 1 or temperature <= 0:
        raise ValueError(f"beta {beta} lies outside 0 to 1 or temperature {temperature} is not positive")
    if len(student_hidden_KH) != positions:
        raise ValueError(f"{len(student_hidden_KH)} positions of the student stand against {positions} of the teacher")


class _FullDivergence(torch.autograd.Function):
    @staticmethod
    @without_autocast
    def forward(
        ctx: Any,
        hidden_KH: Tensor,
        weight_VH: Tensor,
        teacher: TeacherLogits,
        beta: float,
        temperature: float,
        vocabulary: int,
        chunk: int,
        entries: int,
    ) -> tuple[Tensor, Tensor]:
        wanted = ctx.needs_input_grad[:2]
        gradient = HeadGradient(hidden_KH, weight_VH, wanted, temperature)
        cast_VH = gradient.weight_VH[:vocabulary]
        spans = [slice(start, min(start + entries, vocabulary)) for start in range(0, vocabulary, entries)]
        wide = torch.float64 if hidden_KH.dtype == torch.float64 else torch.float32
        values_K = hidden_KH.new_zeros(len(hidden_KH), dtype=wide)
        mean_K = torch.zeros_like(values_K)
        """Σ S·g of each position."""
        for start in range(0, len(hidden_KH), chunk):
            rows = slice(start, start + chunk)
            logits = None  # lets the last chunk's logits go before the next are formed
            logits = _Logits(hidden_KH[rows], cast_VH, teacher, rows, temperature, spans)
            for span in spans:
                for block, student_BL, teacher_BL in logits.normalised(span):
                    found = compare(student_BL, teacher_BL, beta)
                    values_K[rows][block] += found.value_C
                    if beta == 0:
                        logits.put(block, found.student_CL.sub_(teacher_BL.exp_()))
                    else:
                        mean_K[rows][block] += found.mean_C
                        if len(spans) == 1:
                            logits.put(block, found.rise_CL.sub_(found.mean_C[:, None]).mul_(found.student_CL))
                if any(wanted) and (beta == 0 or len(spans) == 1):
                    gradient.add(rows, logits.student_CL, span)
            if any(wanted) and beta != 0 and len(spans) > 1:
                for span in spans:
                    for block, student_BL, teacher_BL in logits.normalised(span):
                        found = compare(student_BL, teacher_BL, beta)
                        logits.put(block, found.rise_CL.sub_(mean_K[rows][block][:, None]).mul_(found.student_CL))
                    gradient.add(rows, logits.student_CL, span)
        ctx.mark_non_differentiable(values_K)
        keep_gradient(ctx, gradient)
        return values_K.sum(), values_K

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, ignored: Tensor) -> tuple[Tensor | None, ...]:
        return *give_gradient(ctx, grad), None, None, None, None, None, None


class _Logits:
    """Both models' logits of one chunk of positions, a span of the vocabulary at a time.

    Arithmetic runs on blocks of few rows, which stay in the cache; its results are put where the student's logits were.
    """

    def __init__(
        self,
        hidden_CH: Tensor,
        weight_VH: Tensor,
        teacher: TeacherLogits,
        rows: slice,
        temperature: float,
        spans: list[slice],
    ) -> None:
        self.hidden_CH, self.weight_VH, self.teacher, self.rows = hidden_CH, weight_VH, teacher, rows
        self.temperature = temperature
        self.single = len(spans) == 1
        most = WORKED_ON_AT_ONCE_CPU if hidden_CH.device.type == "cpu" else WORKED_ON_AT_ONCE_GPU
        size = max(1, most // (spans[0].stop - spans[0].start))
        self.blocks = [slice(start, start + size) for start in range(0, len(hidden_CH), size)]
        self._form(spans[0])
        if self.single:
            return
        self.student_C1, self.teacher_C1 = self._normalise(self.student_CL), self._normalise(self.teacher_CL)
        for span in spans[1:]:
            self._form(span)
            self.student_C1 = torch.logaddexp(self.student_C1, self._normalise(self.student_CL))
            self.teacher_C1 = torch.logaddexp(self.teacher_C1, self._normalise(self.teacher_CL))

    def normalised(self, span: slice) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """(block, student's log-probabilities, teacher's), block by block, in tensors that may be overwritten."""
        if self.single:
            for block in self.blocks:
                yield block, self.student_CL[block].log_softmax(dim=-1), self.teacher_CL[block].log_softmax(dim=-1)
            return
        self._form(span)
        for block in self.blocks:
            yield (
                block,
                self.student_CL[block] - self.student_C1[block],
                self.teacher_CL[block] - self.teacher_C1[block],
            )

    def put(self, block: slice, slope_BL: Tensor) -> None:
        self.student_CL[block] = slope_BL

    def _normalise(self, logits_CL: Tensor) -> Tensor:
        return torch.cat([logits_CL[block].logsumexp(dim=-1, keepdim=True) for block in self.blocks])

    def _form(self, span: slice) -> None:
        self.student_CL = scaled_logits(self.hidden_CH, self.weight_VH[span], self.temperature)
        self.teacher_CL = self.teacher(self.rows, span)


class _DivergenceWithin(torch.autograd.Function):
    @staticmethod
    @without_autocast
    def forward(
        ctx: Any,
        hidden_KH: Tensor,
        weight_VH: Tensor,
        tokens_KL: Tensor,
        teacher_logits_KL: Tensor,
        beta: float,
        temperature: float,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        wide = torch.float64 if hidden_KH.dtype == torch.float64 else torch.float32
        values_K = hidden_KH.new_zeros(len(hidden_KH), dtype=wide)
        grad_KH = torch.zeros_like(hidden_KH) if wants_hidden else None
        grad_VH = torch.zeros_like(weight_VH, dtype=wide) if wants_weight else None
        for start in range(0, len(hidden_KH), chunk):
            rows = slice(start, start + chunk)
            named_CLH = matching(weight_VH[tokens_KL[rows]], hidden_KH)
            hidden_CH = hidden_KH[rows].to(named_CLH.dtype)
            logits_CL = torch.einsum("ch,clh->cl", hidden_CH, named_CLH).to(wide) / temperature
            student_CL = logits_CL.log_softmax(dim=-1)
            teacher_CL = (teacher_logits_KL[rows].to(hidden_CH.device, wide) / temperature).log_softmax(dim=-1)
            found = compare(student_CL, teacher_CL, beta)
            values_K[rows] = found.value_C
            if beta == 0:
                slope_CL = found.student_CL - teacher_CL.exp()
            else:
                slope_CL = found.student_CL * (found.rise_CL - found.mean_C[:, None])
            slope_CL = slope_CL.div_(temperature).to(hidden_CH.dtype)
            if grad_KH is not None:
                grad_KH[rows] = torch.einsum("cl,clh->ch", slope_CL, named_CLH)
            if grad_VH is not None:
                given_CLH = (slope_CL[:, :, None] * hidden_CH[:, None, :]).to(wide)
                grad_VH.index_add_(0, tokens_KL[rows].flatten(), given_CLH.flatten(0, 1))
        ctx.mark_non_differentiable(values_K)
        ctx.formed = [grad_KH, None if grad_VH is None else grad_VH.to(weight_VH.dtype)]
        return values_K.sum(), values_K

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, ignored: Tensor) -> tuple[Tensor | None, ...]:
        return *give_gradient(ctx, grad), None, None, None, None, None
