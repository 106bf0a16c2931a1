"""Decoding with the Hugging Face module itself, for every causal model that has no path of its own here.

Rows are padded on the left, so that all end at the same column; position ids count from each row's first real token.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from trainer.attention import PER_DOCUMENT


class ModuleDecoder:
    """One batch at a time: its rows share their columns, so none is admitted while others are in work."""

    refills = False

    def __init__(self, model: Any) -> None:
        self.model = model

    def admit(self, prompts: Sequence[Sequence[int]], copies: Sequence[int]) -> Tensor:
        tokens_PT, mask_PT = _pad_left(prompts, self.model.device)
        self._cache = DynamicCache(config=self.model.config)
        self._mask_RT = mask_PT
        self._position_R1 = mask_PT.sum(dim=-1, keepdim=True) - 1
        logits_PV = self._forward(tokens_PT, (mask_PT.cumsum(dim=-1) - 1).clamp(min=0))
        if any(count > 1 for count in copies):
            self.keep([place for place, count in enumerate(copies) for _ in range(count)])
        return logits_PV

    def step(self, token_R: Tensor) -> Tensor:
        self._mask_RT = torch.cat([self._mask_RT, self._mask_RT.new_ones(len(token_R), 1)], dim=1)
        self._position_R1 = self._position_R1 + 1
        return self._forward(token_R[:, None], self._position_R1)

    def keep(self, order: Sequence[int]) -> None:
        order_R = torch.tensor(order, dtype=torch.long, device=self.model.device)
        self._cache.batch_select_indices(order_R)
        self._mask_RT, self._position_R1 = self._mask_RT[order_R], self._position_R1[order_R]

    def _forward(self, tokens_RT: Tensor, position_RT: Tensor) -> Tensor:
        logits_RV: Tensor = self.model(
            input_ids=tokens_RT,
            attention_mask=self._mask_RT,
            position_ids=position_RT,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        return logits_RV


@contextmanager
def answering(model: Any) -> Iterator[None]:
    """The module in evaluation mode, with an attention that reads masks and caches; afterwards as it was."""
    training, attention = model.training, model.config._attn_implementation
    model.eval()
    if attention == PER_DOCUMENT:
        model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        model.train(training)
        if attention == PER_DOCUMENT:
            model.set_attn_implementation(attention)
        # A sharded model keeps its outermost weights gathered after a pass without gradients; an optimiser made then
        # would hold those and change nothing.
        if hasattr(model, "reshard"):
            model.reshard()


def _pad_left(prompts: Sequence[Sequence[int]], device: Any) -> tuple[Tensor, Tensor]:
    width = max(len(prompt) for prompt in prompts)
    tokens_PT = torch.zeros(len(prompts), width, dtype=torch.long)
    mask_PT = torch.zeros(len(prompts), width, dtype=torch.long)
    for place, prompt in enumerate(prompts):
        tokens_PT[place, width - len(prompt) :] = torch.tensor(prompt)
        mask_PT[place, width - len(prompt) :] = 1
    return tokens_PT.to(device), mask_PT.to(device)
