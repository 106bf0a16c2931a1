"""Attention within each document of a flat row of documents, and nowhere else.

All documents of a micro-batch stand in one row of T tokens, positions counting from 0 in each. Queries, keys and
values are cut along time and every document attends to itself alone: nothing can leak, no arithmetic is spent between
documents. A segment may also be a branch: it continues another segment, its stem, and attends to that and to itself.
Works for every Hugging Face model that supports exchangeable attention.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface

PER_DOCUMENT = "per_document"
PADDING_TOLERATED = 1.25
"""Branches are attended to together, padded to the longest, while that takes at most this many times their tokens."""


def attend_per_document(
    module: Any,
    query_1QTD: Tensor,
    key_1KTD: Tensor,
    value_1KTD: Tensor,
    attention_mask: Tensor | None,
    *,
    document_lengths: list[int],
    stems: list[int] | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **ignored: Any,
) -> tuple[Tensor, None]:
    """Q query heads, K key heads, T tokens of all segments, D units a head. Returns (1, T, Q, D).

    `stems`: per segment the number of the earlier one that it continues, below 0 for none; the branches of a stem stand
    right behind it.
    """
    if softcap is not None:
        raise NotImplementedError("this model caps its attention scores, which training on packed documents cannot do")
    options = {
        "dropout_p": dropout if module.training else 0.0,
        "scale": scaling,
        "enable_gqa": query_1QTD.shape[1] != key_1KTD.shape[1],
    }
    tensors = (query_1QTD, key_1KTD, value_1KTD)
    parts_1SQD = []
    if stems is None:
        for query, key, value in zip(*(tensor.split(document_lengths, dim=2) for tensor in tensors), strict=True):
            parts_1SQD.append(_attend_segment(query, key, value, sliding_window, options))
        return torch.cat(parts_1SQD, dim=1), None
    edges = [0, *accumulate(document_lengths)]
    for segments, stem in _runs(stems):
        span = slice(edges[segments.start], edges[segments.stop])
        query, key, value = (tensor[:, :, span] for tensor in tensors)
        if stem < 0:
            parts_1SQD.append(_attend_segment(query, key, value, sliding_window, options))
        else:
            before = slice(edges[stem], edges[stem + 1])
            stem_key, stem_value = (tensor[:, :, before] for tensor in tensors[1:])
            lengths = document_lengths[segments.start : segments.stop]
            parts_1SQD += _attend_branches(query, key, value, stem_key, stem_value, lengths, sliding_window, options)
    return torch.cat(parts_1SQD, dim=1), None


def _runs(stems: Sequence[int]) -> Iterator[tuple[range, int]]:
    """Each segment without stem alone, and all branches of a stem together."""
    start = 0
    for number, stem in enumerate(stems):
        last = number + 1 == len(stems) or stem < 0 or stems[number + 1] != stem
        if last:
            yield range(start, number + 1), stem
            start = number + 1


def _attend_segment(
    query_1QSD: Tensor, key_1KSD: Tensor, value_1KSD: Tensor, window: int | None, options: dict[str, Any]
) -> Tensor:
    """S tokens that see themselves and what stands before them. Returns (1, S, Q, D)."""
    length = query_1QSD.shape[2]
    windowed = window is not None and length > window
    mask = _mask(length, 0, window, query_1QSD) if windowed else None
    attended_1QSD = functional.scaled_dot_product_attention(
        query_1QSD, key_1KSD, value_1KSD, attn_mask=mask, is_causal=not windowed, **options
    )
    return attended_1QSD.transpose(1, 2)


def _attend_branches(
    query_1QSD: Tensor,
    key_1KSD: Tensor,
    value_1KSD: Tensor,
    stem_key_1KPD: Tensor,
    stem_value_1KPD: Tensor,
    lengths: list[int],
    window: int | None,
    options: dict[str, Any],
) -> Iterator[Tensor]:
    """B branches of S tokens in all, each behind the P tokens of their stem. Yields (1, tokens, Q, D)."""
    branches, longest = len(lengths), max(lengths)
    if branches > 1 and branches * longest > PADDING_TOLERATED * sum(lengths):
        cuts = [tensor.split(lengths, dim=2) for tensor in (query_1QSD, key_1KSD, value_1KSD)]
        for length, query, key, value in zip(lengths, *cuts, strict=True):
            yield from _attend_branches(query, key, value, stem_key_1KPD, stem_value_1KPD, [length], window, options)
        return
    even = all(length == longest for length in lengths)
    if not even:
        starts_B1 = torch.tensor([0, *accumulate(lengths)][:-1])[:, None]
        within_BL = torch.arange(longest)[None].minimum(torch.tensor(lengths)[:, None] - 1)
        # Padding repeats a branch's last token: as a key no real token sees it, as a query nothing is kept of it.
        padded_S = (starts_B1 + within_BL).flatten().to(query_1QSD.device)

    def fold(tensor_1HSD: Tensor) -> Tensor:
        """(1, heads, S, D) → (B, heads, longest, D)."""
        if not even:
            tensor_1HSD = tensor_1HSD.index_select(2, padded_S)
        return tensor_1HSD[0].unflatten(1, (branches, longest)).transpose(0, 1)

    def extend(stem_1KPD: Tensor, tensor_1KSD: Tensor) -> Tensor:
        return torch.cat([stem_1KPD.expand(branches, -1, -1, -1), fold(tensor_1KSD)], dim=2)

    attended_BQLD = functional.scaled_dot_product_attention(
        fold(query_1QSD),
        extend(stem_key_1KPD, key_1KSD),
        extend(stem_value_1KPD, value_1KSD),
        attn_mask=_mask(longest, stem_key_1KPD.shape[2], window, query_1QSD),
        **options,
    )
    attended_SQD = attended_BQLD.transpose(1, 2).flatten(0, 1)
    if not even:
        real = torch.arange(longest)[None] < torch.tensor(lengths)[:, None]
        attended_SQD = attended_SQD.index_select(0, real.flatten().nonzero()[:, 0].to(attended_SQD.device))
    yield attended_SQD[None]


def _mask(length: int, before: int, window: int | None, like: Tensor) -> Tensor:
    """True where a query may look: at itself and all that stands before it, or at the last `window` of these.

    `length` queries; keys are theirs and the `before` tokens that they follow.
    """
    seen = torch.ones(length, before + length, dtype=torch.bool, device=like.device).tril(before)
    return seen if window is None else seen.triu(before + 1 - window)


def _no_mask(*arguments: Any, **named: Any) -> None:
    return None


AttentionInterface.register(PER_DOCUMENT, attend_per_document)
AttentionMaskInterface.register(PER_DOCUMENT, _no_mask)
