"""Sampling by vLLM, inside of this process (`vllm_colocated.py`) or on a server (`vllm_client.py`).

vLLM holds weights of its own, so every change of the policy's has to be sent there. An update is done when the weights
are loaded in place, vLLM says that its prefix cache is empty (keys and values of old weights would otherwise go on
answering for prompts it knows), and the log-probabilities of a few sampled tokens are those of a forward pass of the
policy on the new weights. Updates are made when the next completion is asked for: weights that nobody samples from are
never sent.

Tokens are read as the torch engine reads them, so that both end at the same token and give the same text. A seed fixes
the draws of a request, but draws are not the torch engine's, and rounding depends on what is computed beside a row.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor

from trainer.failures import RunFailed
from trainer.ranks import ALONE, Ranks
from trainer.sampling.arriving import Arriving, OfRequests, Together
from trainer.sampling.end_tokens import end_token_ids
from trainer.sampling.engine import Completion, Requests, SamplingRequest, StopReason
from trainer.sampling.policy_weights import TOLERANCE, Gap, measure_gap, probe_rows, read_weights
from trainer.sampling.rows import Row, RowReader

LogprobsMode = Literal["raw_logprobs", "processed_logprobs"]
RESET_ATTEMPTS, RESET_WAIT = 20, 0.5
"""How often a prefix cache is asked to empty itself, and seconds between: requests that were broken off hold it."""
_SIGNED = (1 << 63) - 1


@dataclass(frozen=True)
class VllmFacts:
    """What a running vLLM says of itself."""

    version: str
    architecture: str
    vocabulary: int
    dtype: str
    context: int
    logprobs: str
    workers: int
    broken: bool = False
    """It took weights in part only and can take none any more."""


class VllmBackend(Protocol):
    """Where vLLM runs. Everything may raise RunFailed."""

    facts: VllmFacts

    def load(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Replace all weights."""

    def reset_prefix_cache(self) -> bool:
        """Forget keys and values; False when some are still in use."""

    def generate(self, rows: Arriving, reader: RowReader, should_stop: Callable[[], bool]) -> None:
        """Sample every row to its end, beside those in work, until none will come any more. When asked to stop, those
        in work end as interrupted, and others are not taken.
        """

    def sleep(self) -> bool:
        """Give memory back; False when the weights are lost by it."""

    def wake_up(self, part: Literal["weights", "kv_cache"]) -> None:
        """Take memory again for one of the parts; nothing happens to one that is awake."""

    def close(self) -> None:
        """Give everything back, for good."""


def logprobs_mode(*, temperature: float, top_p: float) -> LogprobsMode | None:
    """How vLLM must be started for log-probabilities at this temperature and before top_p; None: it has no such way.

    Its `raw` ones are before temperature and top_p, its `processed` ones after both. Greedy ones are at temperature 1
    either way.
    """
    if top_p == 1 or temperature == 0:
        return "processed_logprobs"
    return "raw_logprobs" if temperature == 1 else None


def sampling_fields(row: Row) -> dict[str, Any]:
    """A row's request in vLLM's words. Everything is said, lest a model's own generation settings fill the gaps."""
    request = row.request
    return {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": request.seed & _SIGNED,
        "max_tokens": row.room,
        "logprobs": 0,
        "ignore_eos": True,
        "stop_token_ids": sorted(row.ends),
    }


class VllmEngine:
    """Samples from `model` by way of a vLLM that is given its weights; `temperature` and `top_p` are those that most
    requests will have, and that updates are checked at.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        backend: VllmBackend,
        *,
        temperature: float,
        top_p: float,
        tolerance: float | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.model = model
        self.backend = backend
        self.temperature, self.top_p = temperature, top_p
        self.ranks = ranks
        facts = backend.facts
        self.tolerance = TOLERANCE[facts.dtype] if tolerance is None else tolerance
        self.updates = 0
        """Times that weights were sent, and as often the prefix cache was emptied."""
        self.gap: Gap | None = None
        """Found after the last update."""
        self._stale = True
        self._tokenizer = tokenizer
        self._reader = RowReader(tokenizer, end_tokens=end_token_ids(model, tokenizer), context=facts.context)
        self._make_ready()

    def update_weights(self) -> None:
        """Sample from the policy's weights as they are when the next completion is asked for."""
        self._stale = True

    def sample(
        self, requests: Sequence[SamplingRequest], *, should_stop: Callable[[], bool] | None = None
    ) -> list[Completion]:
        """Completions come back in the order of the requests; raises RunFailed when vLLM does not do as it should."""
        for number, request in enumerate(requests):
            self._check(number, request)
        rows = [self._reader.open(request) for request in requests]
        if rows or self._stale:
            self._make_ready()
        if rows:
            self.backend.generate(Together(rows), self._reader, should_stop or _never)
        for row in rows:
            row.reason = row.reason or StopReason.INTERRUPTED  # not even begun when the stop was asked for
        return [self._reader.close(row) for row in rows]

    def serve(
        self, requests: Requests, *, most: int, longest: int, should_stop: Callable[[], bool] | None = None
    ) -> None:
        """Sample requests as they come. Places and keys and values are vLLM's own affair, so that `most` and `longest`
        say nothing to it; what it knows of an earlier turn's prompt is in its prefix cache.
        """
        self._make_ready()
        self.backend.generate(
            OfRequests(requests, self._reader, check=self._check), self._reader, should_stop or _never
        )

    def notes(self) -> dict[str, str]:
        facts = self.backend.facts
        return {"sampler": f"vLLM {facts.version}, {facts.dtype}, {facts.workers} worker{'s' * (facts.workers > 1)}"}

    def rest(self) -> None:
        """Give memory back until the next completion is asked for."""
        self._stale |= not self.backend.sleep()

    def close(self) -> None:
        self.backend.close()

    def _check(self, number: int, request: SamplingRequest) -> None:
        facts = self.backend.facts
        if len(request.prompt_ids) >= facts.context:
            raise ValueError(
                f"prompt {number} has {len(request.prompt_ids)} tokens and vLLM was started for {facts.context}: "
                "nothing can be sampled after it"
            )
        if request.temperature and not _fits(facts.logprobs, request):
            raise ValueError(
                f"vLLM was started for {facts.logprobs}, which are not those of temperature {request.temperature:g} "
                f"with top_p {request.top_p:g}"
            )

    def _make_ready(self) -> None:
        """Wake vLLM and, when the policy's weights have changed, send them, empty the prefix cache and check both."""
        self.backend.wake_up("weights")
        if not self._stale:
            self.backend.wake_up("kv_cache")
            return
        failure = ""
        if self.ranks.first:  # all ranks hold the same weights and ask the same server
            try:
                self._send_weights()
            except RunFailed as error:
                failure = str(error)
        if failure := self.ranks.from_first(failure):
            raise RunFailed(failure)
        self._stale = False

    def _send_weights(self) -> None:
        self.backend.load(read_weights(self.model))
        self.backend.wake_up("kv_cache")
        self._empty_prefix_cache()
        self.updates += 1
        self._check_weights()

    def _empty_prefix_cache(self) -> None:
        for attempt in range(RESET_ATTEMPTS):
            if self.backend.reset_prefix_cache():
                return
            if attempt + 1 < RESET_ATTEMPTS:
                time.sleep(RESET_WAIT)
        raise RunFailed(
            "vLLM did not empty its prefix cache after its weights were updated, so that it would go on answering from "
            "the old ones; see that nothing else uses it while the run trains, and resume from the last checkpoint."
        )

    def _check_weights(self) -> None:
        facts = self.backend.facts
        rows = probe_rows(
            vocabulary=min(len(self._tokenizer), facts.vocabulary),
            context=facts.context,
            temperature=self.temperature,
            top_p=self.top_p,
        )
        self.backend.generate(Together(rows), self._reader, _never)
        self.gap = gap = measure_gap(self.model, rows)
        if not gap.mean <= self.tolerance:
            raise RunFailed(
                f"vLLM {facts.version} does not sample from the policy's weights: after update {self.updates} its "
                f"log-probabilities of {gap.tokens} tokens differ from the policy's own by {gap.mean:.2g} nats on "
                f"average and {gap.largest:.2g} at most, and {facts.dtype} explains {self.tolerance:g}. Either this "
                f"version does not take all weights of {facts.architecture} in place or it computes something else; "
                "choose sampler torch or another version, and resume from the last checkpoint."
            )


def _fits(mode: str, request: SamplingRequest) -> bool:
    if mode == "processed_logprobs":
        return request.top_p == 1
    return mode == "raw_logprobs" and request.temperature == 1


def _never() -> bool:
    return False
