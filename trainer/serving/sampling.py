"""Between the web server's event loop and the engine's thread: requests in, tokens and completions out.

The engine samples all requests in one batch, takes new ones between two tokens, and lets go of those whose client has
left. What it has to tell goes to the loop once for each step of the batch, not once for each token.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trainer.evaluation.likelihood import Continuation, look_at_continuations
from trainer.failures import RunFailed
from trainer.sampling.engine import Completion, SamplingRequest, StopReason
from trainer.sampling.llama_decoder import LlamaDecoder
from trainer.sampling.rows import Row, RowReader
from trainer.sampling.torch_engine import TorchEngine
from trainer.serving.refusals import Refused

log = logging.getLogger(__name__)
LEAST_LOGPROB = -9999.0
"""Told for a token that cannot be; JSON has no infinity."""
RETRY_S = 1
"""Seconds after which a client that found the queue full may ask again."""


@dataclass(frozen=True)
class SampledToken:
    token: int
    logprob: float
    likeliest: tuple[tuple[int, float], ...] = ()
    """Token and log-probability of the likeliest, as many as were asked for."""


Event = SampledToken | Completion | Refused


@dataclass(eq=False)
class Ticket:
    """One completion that somebody waits for."""

    listens: bool
    """Wants every token as it comes."""
    looks: int
    """Likeliest tokens that are to be told beside each sampled one."""
    events: "asyncio.Queue[Event]" = field(default_factory=asyncio.Queue)
    tokens: list[SampledToken] = field(default_factory=list)
    """All that were sampled; whole once the completion is there."""
    values: bool = False
    """Wants the tokens of the prompt valued."""
    prompt: list[SampledToken] = field(default_factory=list)
    """The prompt's tokens from the second on; whole once the completion is there."""
    gone: bool = False
    """Nobody waits any more. Set by the loop, seen by the engine's thread."""

    async def completion(self) -> Completion:
        """The end of it; raises Refused when there is none."""
        while isinstance(event := await self.events.get(), SampledToken):
            pass
        if isinstance(event, Refused):
            raise event
        return event


@dataclass(frozen=True, kw_only=True)
class AskedFor(SamplingRequest):
    ticket: Ticket = field(compare=False)
    writes: bool = True
    """Wants something written after the prompt."""


class ListeningReader(RowReader):
    """Tells tickets what was sampled for them, and ends the rows of those that are gone."""

    sampler: "Sampler"
    _likeliest: dict[Row, tuple[tuple[int, float], ...]]

    def look(self, rows: Sequence[Row], logits_RV: Tensor) -> None:
        self._likeliest = {}
        looking = [(place, row) for place, row in enumerate(rows) if _ticket_of(row).looks]
        if not looking:
            return
        most = max(_ticket_of(row).looks for _, row in looking)
        for place, row in looking:
            logits_V = logits_RV[place].float() / (row.request.temperature or 1.0)
            logp_V = torch.log_softmax(logits_V, dim=-1)[: self.vocabulary]
            found = logp_V.clamp(min=LEAST_LOGPROB).topk(min(most, logp_V.numel()))
            pairs = list(zip(found.indices.tolist(), found.values.tolist(), strict=True))
            self._likeliest[row] = tuple(pairs[: _ticket_of(row).looks])

    def add(self, row: Row, token: int, logprob: float) -> None:
        super().add(row, token, logprob)
        ticket = _ticket_of(row)
        sampled = SampledToken(token, logprob, self._likeliest.get(row, ()))
        ticket.tokens.append(sampled)
        if ticket.gone:
            row.reason = StopReason.INTERRUPTED
        elif ticket.listens:
            self.sampler.tell(ticket, sampled)


class ServingEngine(TorchEngine):
    """The engine of training, with a reader that tells tokens as they come."""

    sampler: "Sampler"

    def count_places(self, wanted: int, *, columns: int) -> int:
        """Of `wanted` completions with so many tokens each, those whose keys and values fit beside one another."""
        if self._weights is None:
            return wanted
        affordable = self._cache_budget(self._weights.device) // (columns * LlamaDecoder.bytes_per_token(self._weights))
        return max(1, min(wanted, affordable))

    def _reader(self) -> RowReader:
        reader = ListeningReader(
            self.tokenizer, end_tokens=self.end_tokens, context=self.context, vocabulary=self.vocabulary
        )
        reader.sampler = self.sampler
        return reader


class Sampler:
    """Runs the engine in a thread of its own. `places`: completions in work; `waiting`: that may wait beside."""

    def __init__(self, engine: Any, *, context: int, places: int, waiting: int) -> None:
        engine.sampler = self
        self.engine, self.context, self.places, self.most_waiting = engine, context, places, waiting
        self._news = threading.Condition()
        self._waiting: deque[AskedFor] = deque()
        self._in_work: dict[int, AskedFor] = {}
        self._next = 0
        self._stopping = False
        self._told: list[tuple[Ticket, Event]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="sampling", daemon=True)

    # In the loop.

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def ask(self, requests: Sequence[AskedFor]) -> None:
        """Queue all of them or none; raises Refused where there is no room or the server is stopping."""
        with self._news:
            if self._stopping:
                raise Refused("The server is stopping.", status=503, wait_s=RETRY_S)
            if len(self._waiting) + len(self._in_work) + len(requests) > self.places + self.most_waiting:
                raise Refused(
                    f"{len(self._in_work)} completions are in work and {len(self._waiting)} wait: the queue is full; "
                    "ask again later, or for fewer at a time.",
                    status=429,
                    code="queue_full",
                    wait_s=RETRY_S,
                )
            self._waiting.extend(requests)
            self._news.notify_all()

    def leave(self, tickets: Sequence[Ticket]) -> None:
        """Nobody waits for these any more."""
        with self._news:
            for ticket in tickets:
                ticket.gone = True
            self._waiting = deque(one for one in self._waiting if not one.ticket.gone)

    @property
    def load(self) -> tuple[int, int]:
        """Completions in work, and waiting."""
        return len(self._in_work), len(self._waiting)

    @property
    def works(self) -> bool:
        return self._thread.is_alive() and not self._stopping

    async def stop(self) -> None:
        """Break off what is in work and end the thread."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    # In the engine's thread.

    def take(self) -> Sequence[tuple[int, SamplingRequest]]:
        self.flush()
        found = []
        with self._news:
            while self._waiting and len(self._in_work) < self.places:
                request = self._waiting.popleft()
                self._in_work[self._next] = request
                found.append((self._next, request))
                self._next += 1
        if valued := [request for _, request in found if request.ticket.values]:
            value_prompts(self.engine.model, valued)
        for number, request in found:
            if not request.writes:
                self.answer(number, Completion(token_ids=(), logprobs=(), text="", stop_reason=StopReason.LENGTH))
        return [(number, request) for number, request in found if request.writes]

    def wait(self) -> bool:
        self.flush()
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._stopping)
            return not self._stopping

    def answer(self, number: int, completion: Completion) -> None:
        with self._news:
            request = self._in_work.pop(number)
        if completion.stop_reason is StopReason.INTERRUPTED:
            self.tell(request.ticket, Refused("The server is stopping.", status=503, wait_s=RETRY_S))
        else:
            self.tell(request.ticket, completion)

    def tell(self, ticket: Ticket, event: Event) -> None:
        self._told.append((ticket, event))

    def flush(self) -> None:
        """Pass on what was told."""
        if self._told and self._loop is not None:
            told, self._told = self._told, []
            try:
                self._loop.call_soon_threadsafe(_deliver, told)
            except RuntimeError:  # the loop is closed: nobody listens
                return

    def _run(self) -> None:
        while self.wait():
            try:
                self.engine.serve(self, most=self.places, longest=self.context, should_stop=lambda: self._stopping)
            except RunFailed as error:
                self._fail(f"Nothing can be sampled: {error}")
            except Exception:
                log.exception("sampling failed")
                self._fail("Sampling failed; the server's output says why.")
        self._fail("The server is stopping.", status=503)

    def _fail(self, sentence: str, *, status: int = 500) -> None:
        """Tell everybody whose completion is lost: those in work, and those that wait where none was in work."""
        with self._news:
            lost = list(self._in_work.values())
            self._in_work.clear()
            if status == 503 or not lost:
                lost += self._waiting
                self._waiting.clear()
        for request in lost:
            self.tell(request.ticket, Refused(sentence, status=status))
        self.flush()


def value_prompts(model: Any, requests: Sequence[AskedFor]) -> None:
    """Log-probabilities of prompts, by the code that scores tasks, at temperature 1; equal prompts are valued once."""
    looks: dict[tuple[int, ...], int] = {}
    for request in requests:
        looks[request.prompt_ids] = max(looks.get(request.prompt_ids, 0), request.ticket.looks)
    asked = [Continuation(ids, 1) for ids in looks]
    found = dict(zip(looks, look_at_continuations(model, asked, looks=max(looks.values())), strict=True))
    for request in requests:
        request.ticket.prompt = [
            SampledToken(token, max(one.logprob, LEAST_LOGPROB), one.likeliest[: request.ticket.looks])
            for token, one in zip(request.prompt_ids[1:], found[request.prompt_ids], strict=True)
        ]


def _deliver(told: Sequence[tuple[Ticket, Event]]) -> None:
    for ticket, event in told:
        ticket.events.put_nowait(event)


def _ticket_of(row: Row) -> Ticket:
    assert isinstance(row.request, AskedFor)
    return row.request.ticket
