"""Attention within each document of a flat row of documents, and nowhere else.

All documents of a micro-batch stand in one row of N tokens, positions counting from 0 in each. Queries, keys and
values are cut along time and every document attends to itself alone: nothing can leak, no mask is built, no arithmetic
is spent between documents. Works for every Hugging Face model that supports exchangeable attention.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface

PER_DOCUMENT = "per_document"


def attend_per_document(
    module: Any,
    query_1QTD: Tensor,
    key_1KTD: Tensor,
    value_1KTD: Tensor,
    attention_mask: Tensor | None,
    *,
    document_lengths: list[int],
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **ignored: Any,
) -> tuple[Tensor, None]:
    """Q query heads, K key heads, T tokens of all documents, D units a head. Returns (1, T, Q, D)."""
    if softcap is not None:
        raise NotImplementedError("this model caps its attention scores, which training on packed documents cannot do")
    parts = []
    for query, key, value in zip(
        query_1QTD.split(document_lengths, dim=2),
        key_1KTD.split(document_lengths, dim=2),
        value_1KTD.split(document_lengths, dim=2),
        strict=True,
    ):
        length = query.shape[2]
        windowed = sliding_window is not None and length > sliding_window
        parts.append(
            functional.scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask=_window(length, sliding_window or length, query) if windowed else None,
                dropout_p=dropout if module.training else 0.0,
                is_causal=not windowed,
                scale=scaling,
                enable_gqa=query.shape[1] != key.shape[1],
            )
        )
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def _window(length: int, window: int, like: Tensor) -> Tensor:
    """True where a query may look: at itself and the `window` − 1 tokens before it."""
    causal_TT = torch.ones(length, length, dtype=torch.bool, device=like.device).tril()
    return causal_TT & causal_TT.new_ones(length, length).triu(1 - window)


def _no_mask(*arguments: Any, **named: Any) -> None:
    return None


AttentionInterface.register(PER_DOCUMENT, attend_per_document)
AttentionMaskInterface.register(PER_DOCUMENT, _no_mask)
