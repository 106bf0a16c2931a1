"""Sampling in this process, on the policy's own weights.

A Llama-shaped model decodes through a path of its own (`llama_decoder.py`), once that has shown the model's own logits;
every other through its Hugging Face module (`module_decoder.py`). Both are driven by the same loop, which chooses the
tokens, lets finished rows leave and takes waiting requests in their place.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.sampling.choose import Chooser
from trainer.sampling.decoder import Decoder
from trainer.sampling.end_tokens import context_length, end_token_ids
from trainer.sampling.engine import Completion, Requests, SamplingRequest, StopReason
from trainer.sampling.llama_decoder import LlamaDecoder
from trainer.sampling.llama_weights import LlamaWeights, NotLlamaShaped
from trainer.sampling.module_decoder import ModuleDecoder, answering
from trainer.sampling.randomness import scramble_seeds, uniforms
from trainer.sampling.rows import Row, RowReader
from trainer.sampling.self_test import find_difference

log = logging.getLogger(__name__)

AHEAD = 32
"""Steps whose random numbers are worked out together."""
PROMPT_TOKENS = 8192
"""Prompt tokens computed in one pass, unless a single prompt has more: bounds the memory of their activations."""
CPU_CACHE_BYTES = 2 << 30
GPU_CACHE_SHARE = 0.4
"""Share of the free memory of a GPU that keys and values may take."""


class TorchEngine:
    """Samples from `model` on its own device.

    `batch_rows` rows are in work at most, fewer when their keys and values would take more than `cache_bytes` (by
    default 2 GiB, or two fifths of what is free on a GPU). `dtype` is the fast path's number format: by default bf16
    on a GPU, elsewhere the model's own.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        batch_rows: int = 128,
        cache_bytes: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.batch_rows = batch_rows
        self.cache_bytes = cache_bytes
        self.end_tokens = end_token_ids(model, tokenizer)
        self.context = context_length(model)
        self.vocabulary = max(tokenizer.get_vocab().values()) + 1
        self._weights: LlamaWeights | None = None
        self.fallback_reason: str | None = None
        """Why the Hugging Face module decodes; None when the fast path does."""
        try:
            weights = LlamaWeights(model, dtype=dtype or _default_dtype(model))
            self.fallback_reason = find_difference(model, weights, context=self.context)
            if self.fallback_reason is None:
                self._weights = weights
        except NotLlamaShaped as error:
            self.fallback_reason = str(error)
        if self.fallback_reason is not None:
            log.info("sampling through the Hugging Face module: %s", self.fallback_reason)

    def update_weights(self) -> None:
        """Take the model's weights as they are now; to be called after each step of the optimiser."""
        if self._weights is not None and not self._weights.dropped:
            self._weights.refresh()

    def drop_weights(self) -> None:
        """Give back the memory of the weights' copy; the next call makes it anew."""
        if self._weights is not None:
            self._weights.drop()

    def sample(
        self, requests: Sequence[SamplingRequest], *, should_stop: Callable[[], bool] | None = None
    ) -> list[Completion]:
        """Requests with equal prompts share its computation; completions come back in the order of the requests."""
        for number, request in enumerate(requests):
            self._check(number, request)
        reader = self._reader()
        rows = [reader.open(request) for request in requests]
        if rows:
            columns = max(len(row.request.prompt_ids) + row.room for row in rows)
            with torch.inference_mode(), self._open_decoder(len(rows), columns) as (decoder, places):
                batch = _Batch(decoder, places, reader, self.model.device)
                batch.enqueue(rows)
                batch.run(should_stop or _never)
        return [reader.close(row) for row in rows]

    def serve(
        self, requests: Requests, *, most: int, longest: int, should_stop: Callable[[], bool] | None = None
    ) -> None:
        """Sample requests as they come, beside those in work, until none will come any more.

        `most`: requests at a time; more would wait for a place. `longest`: most tokens of a prompt and its completion
        together; raises ValueError for a request beyond it.
        """
        reader, stop = self._reader(), should_stop or _never
        columns = longest if self.context is None else min(longest, self.context)
        numbers: dict[Row, int] = {}

        def answer(row: Row) -> None:
            requests.answer(numbers.pop(row), reader.close(row))

        def admit(batch: "_Batch") -> None:
            fresh = []
            for number, request in requests.take():
                self._check(number, request)
                row = reader.open(request)
                if len(request.prompt_ids) + row.room > columns:
                    raise ValueError(
                        f"request {number} wants {len(request.prompt_ids) + row.room} tokens; {columns} were announced"
                    )
                numbers[row] = number
                fresh.append(row)
            batch.enqueue(fresh)

        with torch.inference_mode(), self._open_decoder(most, columns) as (decoder, places):
            batch = _Batch(decoder, places, reader, self.model.device)
            while not stop() and requests.wait():
                admit(batch)
                batch.run(stop, admit=admit, answer=answer)

    def notes(self) -> dict[str, str]:
        """Nothing that the trainer's own version does not say."""
        return {}

    def rest(self) -> None:
        """Keys and values are given back after every call; the weights are the policy's."""

    def close(self) -> None:
        self._weights = None

    @contextmanager
    def _open_decoder(self, rows: int, columns: int) -> Iterator[tuple[Decoder, int]]:
        """A decoder for rows of at most `columns` tokens, and how many of them it takes at once."""
        weights = self._weights
        if weights is None or (weights.window is not None and columns > weights.window):
            with answering(self.model):
                yield ModuleDecoder(self.model), self.batch_rows
            return
        weights.refresh_if_changed()
        affordable = self._cache_budget(weights.device) // (columns * LlamaDecoder.bytes_per_token(weights))
        places = max(1, min(self.batch_rows, affordable, rows))
        yield LlamaDecoder(weights, places=places, columns=columns), places

    def _check(self, number: int, request: SamplingRequest) -> None:
        if self.context is not None and len(request.prompt_ids) >= self.context:
            raise ValueError(
                f"prompt {number} has {len(request.prompt_ids)} tokens and the model's context is {self.context}: "
                "nothing can be sampled after it"
            )

    def _reader(self) -> RowReader:
        return RowReader(self.tokenizer, end_tokens=self.end_tokens, context=self.context, vocabulary=self.vocabulary)

    def _cache_budget(self, device: torch.device) -> int:
        if self.cache_bytes is not None:
            return self.cache_bytes
        if device.type == "cuda":
            return int(torch.cuda.mem_get_info(device)[0] * GPU_CACHE_SHARE)
        return CPU_CACHE_BYTES


class _Batch:
    """The rows in work, at the places that the decoder holds them at."""

    def __init__(self, decoder: Decoder, places: int, reader: RowReader, device: torch.device) -> None:
        self.decoder = decoder
        self.places = places
        self.reader = reader
        self.device = device
        self.rows: list[Row] = []
        self.waiting: deque[Row] = deque()

    def enqueue(self, rows: Sequence[Row]) -> None:
        """Prompts of like length are computed together, equal ones once."""
        if rows:
            together = sorted(
                [*self.waiting, *rows], key=lambda row: (len(row.request.prompt_ids), row.request.prompt_ids)
            )
            self.waiting = deque(together)

    def run(
        self,
        should_stop: Callable[[], bool],
        *,
        admit: "Callable[[_Batch], None] | None" = None,
        answer: Callable[[Row], None] | None = None,
    ) -> None:
        """Sample every row to its end; when asked to stop, all unfinished ones end as they are.

        `admit` may enqueue further rows between two tokens; `answer` is given every row that has ended.
        """
        together: _Draws | None = None
        while self.waiting or self.rows:
            if self.waiting and self._has_room_for(len(self.waiting)):
                fresh, logits_RV = self._admit()
                _Draws(fresh, self.device).take(logits_RV, self.reader)
                together = None
            else:
                together = together or _Draws(self.rows, self.device)
                together.take(self.decoder.step(together.token_R), self.reader)
            stopped = should_stop()
            if stopped:
                for row in (*self.rows, *self.waiting):
                    row.reason = row.reason or StopReason.INTERRUPTED
                self.rows += self.waiting
                self.waiting.clear()
            ended = [row for row in self.rows if row.reason is not None]
            if stopped:
                self.rows.clear()
            elif ended:
                self._drop_finished()
                together = None
            if answer:
                for row in ended:
                    answer(row)
            if admit and not stopped:
                admit(self)

    def _has_room_for(self, waiting: int) -> bool:
        """Some places are let stand empty until several prompts can be computed together."""
        if not self.decoder.refills:
            return not self.rows
        return self.places - len(self.rows) >= min(waiting, self.places // 8 + 1)

    def _admit(self) -> tuple[list[Row], Tensor]:
        """Take the next rows in; returns them with the logits after their prompts."""
        waiting = self.waiting
        fresh: list[Row] = []
        prompts: list[tuple[int, ...]] = []
        copies: list[int] = []
        tokens = 0
        while waiting and len(self.rows) + len(fresh) < self.places:
            prompt = waiting[0].request.prompt_ids
            if not prompts or prompt != prompts[-1]:
                tokens += len(prompt)
                if prompts and self.decoder.refills and tokens > PROMPT_TOKENS:
                    break
                prompts.append(prompt)
                copies.append(0)
            copies[-1] += 1
            fresh.append(waiting.popleft())
        logits_PV = self.decoder.admit(prompts, copies)
        self.rows += fresh
        return fresh, logits_PV.repeat_interleave(torch.tensor(copies, device=logits_PV.device), dim=0)

    def _drop_finished(self) -> None:
        """Let finished rows go. The last rows move into their places, so that few have to move."""
        kept = [place for place, row in enumerate(self.rows) if row.reason is None]
        late = iter([place for place in kept if place >= len(kept)])
        order = [place if self.rows[place].reason is None else next(late) for place in range(len(kept))]
        self.decoder.keep(order)
        self.rows = [self.rows[place] for place in order]


class _Draws:
    """What the next tokens of some rows are chosen by; holds as long as the rows are the same."""

    def __init__(self, rows: Sequence[Row], device: torch.device) -> None:
        self._rows = list(rows)
        self._device = device
        self._chooser = Chooser([row.request for row in rows], device)
        self._seeds = scramble_seeds([row.request.seed for row in rows])
        self._taken = 0
        self.token_R = torch.tensor([row.tokens[-1] if row.tokens else 0 for row in rows], device=device)

    def take(self, logits_RV: Tensor, reader: RowReader) -> None:
        """Choose every row's next token."""
        if self._taken % AHEAD == 0:
            steps_R1 = np.array([[len(row.tokens)] for row in self._rows], dtype=np.uint64)
            steps_RA = np.add(steps_R1, np.arange(AHEAD), dtype=np.uint64, casting="unsafe")
            draw_RA = uniforms(self._seeds[:, None], steps_RA)
            self._draw_AR = torch.from_numpy(draw_RA.T.copy()).to(self._device)
        draw_R = self._draw_AR[self._taken % AHEAD]
        self._taken += 1
        self.token_R, logprob_R = self._chooser.choose(logits_RV, draw_R, tokens=reader.vocabulary)
        reader.look(self._rows, logits_RV)
        for row, token, logprob in zip(self._rows, self.token_R.tolist(), logprob_R.tolist(), strict=True):
            reader.add(row, token, logprob)


def _default_dtype(model: Any) -> torch.dtype:
    weight = next(model.parameters())
    return torch.bfloat16 if weight.device.type == "cuda" else weight.dtype


def _never() -> bool:
    return False
