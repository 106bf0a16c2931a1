"""What an engine is asked and what it answers. No torch here: an engine may be a server elsewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable


class StopReason(StrEnum):
    """Why a completion ended. Only the first two are the policy's own doing."""

    END_TOKEN = "end_token"
    STOP_STRING = "stop_string"
    LENGTH = "length"
    """max_new_tokens were sampled."""
    CONTEXT = "context"
    """The policy's context is full."""
    INTERRUPTED = "interrupted"
    """The caller asked to stop; the completion is not to be scored."""


@dataclass(frozen=True, kw_only=True)
class SamplingRequest:
    """One completion to sample. Several completions of one prompt are several requests with different seeds."""

    prompt_ids: tuple[int, ...]
    max_new_tokens: int
    temperature: float = 0.0
    """0 takes the likeliest token."""
    top_p: float = 1.0
    """Tokens are drawn from the smallest set of likeliest tokens that holds this share of probability."""
    seed: int = 0
    """Fixes the draw: the same request gives the same tokens whatever else is in the batch."""
    stop: tuple[str, ...] = ()
    """The completion ends before the first of these strings."""

    def __post_init__(self) -> None:
        if not self.prompt_ids:
            raise ValueError("prompt_ids is empty: the first token needs something to follow")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {self.max_new_tokens}; ask for at least one token")
        if self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ValueError(f"temperature {self.temperature} or top_p {self.top_p} is out of range")
        if "" in self.stop:
            raise ValueError("stop holds an empty string, which would end every completion at once")


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What was sampled. `token_ids` holds every sampled token, also the end token and those of the stop string."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Per sampled token: log-softmax of the logits divided by the temperature (by 1 when greedy), before top_p."""
    text: str
    """Decoded without special tokens, cut before the stop string."""
    stop_reason: StopReason


class Requests(Protocol):
    """Requests that come while others are being sampled: those of conversations, which wait for tools in between."""

    def take(self) -> Sequence[tuple[int, SamplingRequest]]:
        """Those that are ready now, each with a number of its own; never waits."""

    def wait(self) -> bool:
        """Wait until there are some to take; False when none will come any more."""

    def answer(self, number: int, completion: Completion) -> None:
        """Take a completion as soon as it has ended."""


@runtime_checkable
class TakesRequests(Protocol):
    """An engine that goes on sampling while requests come and go."""

    def serve(
        self, requests: Requests, *, most: int, longest: int, should_stop: Callable[[], bool] | None = None
    ) -> None:
        """Sample until no request will come any more. At most `most` are asked for at a time, and none wants more than
        `longest` tokens with its prompt. When asked to stop, requests in work are answered as interrupted and the call
        returns.
        """


@runtime_checkable
class HasCopy(Protocol):
    """An engine with a copy of the policy's weights, which it can make anew."""

    def drop_weights(self) -> None:
        """Give the copy's memory back until something is sampled."""


class Engine(Protocol):
    """Something that samples. Completions come back in the order of the requests."""

    def sample(
        self, requests: Sequence[SamplingRequest], *, should_stop: Callable[[], bool] | None = None
    ) -> list[Completion]:
        """Sample one completion per request; raises ValueError for a prompt that fills the context."""

    def update_weights(self) -> None:
        """Sample from the policy's weights as they are now; to be called after each step of the optimiser."""

    def notes(self) -> dict[str, str]:
        """What the completions depend on beside the policy, to be frozen with the stage."""

    def rest(self) -> None:
        """Nothing will be sampled for a while: give memory back."""

    def close(self) -> None:
        """Nothing will be sampled any more."""
