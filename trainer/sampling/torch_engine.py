"""Sampling in this process: a loop over a Hugging Face causal model with a key-value cache.

Rows are padded on the left, so that all end at the same column; position ids count from each row's first real token.
A row that ends leaves the batch and its cache is dropped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from trainer.sampling.choose import choose_tokens
from trainer.sampling.end_tokens import context_length, end_token_ids
from trainer.sampling.engine import Completion, SamplingRequest, StopReason
from trainer.sampling.randomness import uniform


class TorchEngine:
    """Samples from `model` on its own device. The weights may change between calls; nothing is kept from them."""

    def __init__(self, model: Any, tokenizer: Any, *, batch_rows: int = 32) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.batch_rows = batch_rows
        self.end_tokens = end_token_ids(model, tokenizer)
        self.context = context_length(model)

    def sample(
        self, requests: Sequence[SamplingRequest], *, should_stop: Callable[[], bool] | None = None
    ) -> list[Completion]:
        """Rows of like length share a batch; completions come back in the order of the requests."""
        for number, request in enumerate(requests):
            if self.context is not None and len(request.prompt_ids) >= self.context:
                raise ValueError(
                    f"prompt {number} has {len(request.prompt_ids)} tokens and the model's context is {self.context}: "
                    "nothing can be sampled after it"
                )
        by_length = sorted(range(len(requests)), key=lambda i: len(requests[i].prompt_ids))
        done: dict[int, Completion] = {}
        training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                for start in range(0, len(by_length), self.batch_rows):
                    chosen = by_length[start : start + self.batch_rows]
                    rows = [self._open(requests[i]) for i in chosen]
                    self._sample_batch(rows, should_stop or _never)
                    done.update(zip(chosen, (self._close(row) for row in rows), strict=True))
        finally:
            self.model.train(training)
        return [done[i] for i in range(len(requests))]

    def _open(self, request: SamplingRequest) -> "_Row":
        ends = set(self.end_tokens)
        texts = []
        for stop in request.stop:
            token = self._special_token(stop)
            if token is None:
                texts.append(stop)
            else:
                ends.add(token)
        room = request.max_new_tokens
        full = StopReason.LENGTH
        if self.context is not None and len(request.prompt_ids) + room > self.context:
            room, full = self.context - len(request.prompt_ids), StopReason.CONTEXT
        return _Row(request, ends=frozenset(ends), stop=tuple(texts), room=room, full=full)

    def _special_token(self, stop: str) -> int | None:
        """A stop string that is itself a special token never shows up in decoded text, so its id is watched for."""
        token = self.tokenizer.convert_tokens_to_ids(stop)
        return token if token in self.tokenizer.all_special_ids and token != self.tokenizer.unk_token_id else None

    def _sample_batch(self, rows: "list[_Row]", should_stop: Callable[[], bool]) -> None:
        device = self.model.device
        tokens_RT, mask_RT = _pad_left([row.request.prompt_ids for row in rows], device)
        position_RT = (mask_RT.cumsum(dim=-1) - 1).clamp(min=0)
        cache = DynamicCache(config=self.model.config)
        live = list(rows)
        temperature_R, top_p_R = (
            torch.tensor([getattr(row.request, name) for row in live], device=device, dtype=torch.float64)
            for name in ("temperature", "top_p")
        )
        while True:
            logits_RV = self.model(
                input_ids=tokens_RT,
                attention_mask=mask_RT,
                position_ids=position_RT,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            draw_R = torch.tensor(
                [uniform(row.request.seed, len(row.tokens)) for row in live], device=device, dtype=torch.float64
            )
            token_R, logp_R = choose_tokens(logits_RV, temperature_R=temperature_R, top_p_R=top_p_R, draw_R=draw_R)
            for row, token, logp in zip(live, token_R.tolist(), logp_R.tolist(), strict=True):
                row.tokens.append(token)
                row.logprobs.append(logp)
                row.reason = self._reason_to_stop(row)
            if should_stop():
                for row in live:
                    row.reason = row.reason or StopReason.INTERRUPTED
            kept = [place for place, row in enumerate(live) if row.reason is None]
            if not kept:
                return
            if len(kept) < len(live):
                kept_K = torch.tensor(kept, device=device)
                live = [live[place] for place in kept]
                token_R, mask_RT, position_RT = token_R[kept_K], mask_RT[kept_K], position_RT[kept_K]
                temperature_R, top_p_R = temperature_R[kept_K], top_p_R[kept_K]
                cache.batch_select_indices(kept_K)
            tokens_RT = token_R[:, None]
            mask_RT = torch.cat([mask_RT, mask_RT.new_ones(len(live), 1)], dim=1)
            position_RT = position_RT[:, -1:] + 1

    def _reason_to_stop(self, row: "_Row") -> StopReason | None:
        if row.tokens[-1] in row.ends:
            return StopReason.END_TOKEN
        if row.stop and _first_stop(self._decode(row.tokens), row.stop) is not None:
            return StopReason.STOP_STRING
        return row.full if len(row.tokens) >= row.room else None

    def _close(self, row: "_Row") -> Completion:
        assert row.reason is not None
        kept = row.tokens[:-1] if row.reason is StopReason.END_TOKEN else row.tokens
        text = self._decode(kept)
        if row.reason is StopReason.STOP_STRING:
            text = text[: _first_stop(text, row.stop)]
        return Completion(token_ids=tuple(row.tokens), logprobs=tuple(row.logprobs), text=text, stop_reason=row.reason)

    def _decode(self, tokens: list[int]) -> str:
        text = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text)


@dataclass
class _Row:
    """One request while it is being sampled."""

    request: SamplingRequest
    ends: frozenset[int]
    stop: tuple[str, ...]
    room: int
    full: StopReason
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    reason: StopReason | None = None


def _pad_left(prompts: Sequence[Sequence[int]], device: Any) -> tuple[Tensor, Tensor]:
    width = max(len(prompt) for prompt in prompts)
    tokens_RT = torch.zeros(len(prompts), width, dtype=torch.long)
    mask_RT = torch.zeros(len(prompts), width, dtype=torch.long)
    for place, prompt in enumerate(prompts):
        tokens_RT[place, width - len(prompt) :] = torch.tensor(prompt)
        mask_RT[place, width - len(prompt) :] = 1
    return tokens_RT.to(device), mask_RT.to(device)


def _first_stop(text: str, stops: Sequence[str]) -> int | None:
    """Where the first stop string begins, None when there is none."""
    places = [place for place in (text.find(stop) for stop in stops) if place >= 0]
    return min(places) if places else None


def _never() -> bool:
    return False
