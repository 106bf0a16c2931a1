"""Decoding for Llama-shaped models: the forward pass written out over fused weights and a static cache.

Every row in work owns a place in the cache and fills it from column 0, so rows of any length stand side by side, a row
that ends is replaced by the last one, and a waiting prompt takes the freed place. Prompts are computed as one flat run
of tokens, without padding; rows of one prompt share its computation.
Tensors: P prompts, N prompt tokens, R rows in work, S places, T columns, H hidden, Q query heads, K key heads, D units
of a head, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional

from trainer.sampling.llama_weights import LayerWeights, LlamaWeights


class LlamaDecoder:
    """Rows in work on `LlamaWeights`, at most `places` of them with at most `columns` tokens each."""

    refills = True

    def __init__(self, weights: LlamaWeights, *, places: int, columns: int) -> None:
        self.weights = weights
        w = weights
        # Zeros, because a masked column still enters the product with its weight of 0, which must not meet a NaN.
        self._cache_L2SKTD = torch.zeros(
            len(w.layers), 2, places, w.key_heads, columns, w.head_size, dtype=w.dtype, device=w.device
        )
        self._layer_caches = [(layer[0], layer[1]) for layer in self._cache_L2SKTD]
        self._mask_S11T = torch.full((places, 1, 1, columns), -torch.inf, dtype=w.dtype, device=w.device)
        self._rotation_TD = w.rotations(columns)
        self._lengths: list[int] = []
        self._length_R = torch.zeros(0, dtype=torch.long, device=w.device)
        self._place_R = torch.arange(places, device=w.device)

    @staticmethod
    def bytes_per_token(weights: LlamaWeights) -> int:
        """Cache that one token of one row takes."""
        return len(weights.layers) * 2 * weights.key_heads * weights.head_size * weights.dtype.itemsize

    def admit(self, prompts: Sequence[Sequence[int]], copies: Sequence[int]) -> Tensor:
        w, first = self.weights, len(self._lengths)
        lengths = [len(prompt) for prompt in prompts]
        place = first
        for length, count in zip(lengths, copies, strict=True):
            self._mask_S11T[place : place + count, ..., :length] = 0
            self._mask_S11T[place : place + count, ..., length:] = -torch.inf
            self._lengths += [length] * count
            place += count
        self._length_R = torch.tensor(self._lengths, device=w.device)
        token_N = torch.tensor([token for prompt in prompts for token in prompt], device=w.device)
        rotation_N1D = torch.cat([self._rotation_TD[:length] for length in lengths])[:, None]
        hidden_NH = w.embedding_VH[token_N]
        for number, layer in enumerate(w.layers):
            query_NQD, key_NKD, value_NKD = self._project(layer, hidden_NH, rotation_N1D)
            attended = []
            for start, end, length, place, count in _runs(lengths, copies, first):
                prompts_in_run = (end - start) // length
                query, key, value = (
                    flat[start:end].view(prompts_in_run, length, -1, w.head_size).transpose(1, 2)
                    for flat in (query_NQD, key_NKD, value_NKD)
                )
                for part, state in enumerate((key, value)):
                    held = self._cache_L2SKTD[number, part, place : place + prompts_in_run * count, :, :length]
                    held.view(prompts_in_run, count, *held.shape[1:]).copy_(state[:, None])
                if layer is w.layers[-1]:
                    query = query[:, :, -1:]
                output = functional.scaled_dot_product_attention(
                    query,
                    key,
                    value,
                    is_causal=layer is not w.layers[-1],
                    scale=w.scale,
                    enable_gqa=w.key_heads != w.query_heads,
                )
                attended.append(output.transpose(1, 2).flatten(0, 1).flatten(1))
            if layer is w.layers[-1]:  # nothing later reads the other tokens
                hidden_NH = hidden_NH[torch.tensor(lengths, device=w.device).cumsum(0) - 1]
            hidden_NH = self._finish(layer, hidden_NH, torch.cat(attended))
        return self._logits(hidden_NH)

    def step(self, token_R: Tensor) -> Tensor:
        w, rows = self.weights, len(self._lengths)
        place_R, column_R = self._place_R[:rows], self._length_R
        self._mask_S11T[place_R, 0, 0, column_R] = 0
        self._lengths = [length + 1 for length in self._lengths]
        columns = max(self._lengths)
        mask_R11T = self._mask_S11T[:rows, ..., :columns]
        rotation_R1D = self._rotation_TD[column_R][:, None]
        hidden_RH = w.embedding_VH[token_R]
        for layer, (key_SKTD, value_SKTD) in zip(w.layers, self._layer_caches, strict=True):
            query_RQD, key_RKD, value_RKD = self._project(layer, hidden_RH, rotation_R1D)
            key_SKTD[place_R, :, column_R] = key_RKD
            value_SKTD[place_R, :, column_R] = value_RKD
            # The query heads that share a key head stand as that head's several queries: no key is repeated.
            attended_RKGD = functional.scaled_dot_product_attention(
                query_RQD.view(rows, w.key_heads, -1, w.head_size),
                key_SKTD[:rows, :, :columns],
                value_SKTD[:rows, :, :columns],
                attn_mask=mask_R11T,
                scale=w.scale,
            )
            hidden_RH = self._finish(layer, hidden_RH, attended_RKGD.reshape(rows, -1))
        self._length_R = self._length_R + 1
        return self._logits(hidden_RH)

    def keep(self, order: Sequence[int]) -> None:
        for place, old in enumerate(order):
            if place != old:
                length = self._lengths[old]
                self._cache_L2SKTD[:, :, place, :, :length] = self._cache_L2SKTD[:, :, old, :, :length]
                self._mask_S11T[place] = self._mask_S11T[old]
        self._lengths = [self._lengths[old] for old in order]
        self._length_R = torch.tensor(self._lengths, dtype=torch.long, device=self.weights.device)

    def _project(self, layer: LayerWeights, hidden_NH: Tensor, rotation_N1D: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of one layer, rotated to their positions."""
        w = self.weights
        rotated = (w.query_heads + w.key_heads) * w.head_size
        qkv_NO = layer.qkv(normalise(hidden_NH, layer.before_attention_H, w.eps))
        qk_NQKD = qkv_NO[:, :rotated].view(len(qkv_NO), -1, w.head_size)
        if layer.qk_norm_QKD is not None:
            qk_NQKD = normalise(qk_NQKD, layer.qk_norm_QKD, w.eps)
        pairs_NQKD = torch.view_as_complex(qk_NQKD.float().unflatten(-1, (-1, 2))) * rotation_N1D
        qk_NQKD = torch.view_as_real(pairs_NQKD).flatten(-2).to(w.dtype)
        value_NKD = qkv_NO[:, rotated:].view(len(qkv_NO), -1, w.head_size)
        return qk_NQKD[:, : w.query_heads], qk_NQKD[:, w.query_heads :], value_NKD

    def _finish(self, layer: LayerWeights, hidden_NH: Tensor, attended_NO: Tensor) -> Tensor:
        """The rest of a layer, from what its attention read."""
        w = self.weights
        hidden_NH = layer.attention_out.add_to(hidden_NH, attended_NO)
        normed_NH = normalise(hidden_NH, layer.before_mlp_H, w.eps)
        gate_NF, up_NF = layer.gate_up(normed_NH).chunk(2, dim=-1)
        return layer.down.add_to(hidden_NH, functional.silu(gate_NF).mul_(up_NF))

    def _logits(self, hidden_RH: Tensor) -> Tensor:
        w = self.weights
        return w.head(normalise(hidden_RH, w.norm_H, w.eps))


def normalise(input: Tensor, gain: Tensor, eps: float) -> Tensor:
    """RMSNorm over the last dimension: x / sqrt(mean(x²) + eps) · gain.

    torch has it as one kernel on a GPU only; on a CPU the norm's own kernel saves half of the operations.
    """
    if input.is_cuda:
        return functional.rms_norm(input, input.shape[-1:], eps=eps) * gain
    length = torch.linalg.vector_norm(input, dim=-1, keepdim=True, dtype=torch.float32)
    scale = (length.square_().mul_(1 / input.shape[-1])).add_(eps).rsqrt_()
    return (input * scale).to(input.dtype) * gain


def _runs(lengths: Sequence[int], copies: Sequence[int], place: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Neighbouring prompts alike in length and copies: (first token, end token, length, first place, copies)."""
    start = 0
    for (length, count), alike in groupby(zip(lengths, copies, strict=True)):
        prompts = len(list(alike))
        yield start, start + prompts * length, length, place, count
        start += prompts * length
        place += prompts * count
