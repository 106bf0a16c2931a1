"""One completion of one prompt on its way from sampling to training."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from trainer.data.documents import TokenizedDocument
from trainer.rollouts.calls import Call
from trainer.rollouts.prompts import Prompt
from trainer.sampling.engine import Completion, StopReason


class Ending(StrEnum):
    """Why an episode is over."""

    ANSWERED = "answered"
    TURN_LIMIT = "turn_limit"
    """Its last turn called tools instead of answering."""
    LENGTH = "length"
    """No room was left for a turn, or for what a tool said."""
    FAILED_CALLS = "tool_error_limit"
    DEADLINE = "deadline"
    SERVICE_FAILED = "service_failed"
    """A call could not be made, through no fault of the policy: the episode is worth nothing, not zero."""
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class ToolResult:
    """What came of one call."""

    status: str
    """A status of the tool service; `rejected` also where the call was never made."""
    text: str
    """What the policy reads."""
    wall_ms: float = 0.0
    tries: int = 1
    """How often the service was asked; 0 for a call that was never made."""
    call_id: str = ""
    """As the service logged it."""
    at: float | None = None
    """When it ended, in seconds since 1970."""
    sections: tuple[tuple[str, str], ...] = ()
    """Sections of law that it showed, as (law, section)."""


NOT_MADE = "rejected"
"""Calls that failed because of how the policy wrote them. A program that fails was called rightly."""
SERVICE_FAILED = "infra_error"
TIMED_OUT = "timeout"


@dataclass(frozen=True)
class MadeCall:
    """A call with its result, at its place in the episode."""

    turn: int
    call: Call
    result: ToolResult


CUT_OFF = frozenset({StopReason.LENGTH, StopReason.CONTEXT, Ending.LENGTH, Ending.TURN_LIMIT, Ending.DEADLINE})


@dataclass
class Rollout:
    """Filled in as it goes: sampled, then scored, then given an advantage."""

    prompt: Prompt
    group: int
    """Rollouts of one prompt share it; counts from 0 within a round of sampling."""
    index: int
    """Place within the group."""
    token_ids: list[int]
    """What follows the prompt, sampled or given by the environment."""
    trained: list[bool]
    """Per token: whether the policy sampled it."""
    logprobs: list[float | None]
    """Per token, by the policy that sampled it; None where it was not sampled."""
    text: str
    """What the policy wrote, without special tokens."""
    stop_reason: StopReason | Ending
    reward: float | None = None
    components: dict[str, float | None] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    """What components said about their values."""
    advantage: float | None = None
    masked: str = ""
    """Why it gives no gradient; empty when it does."""
    detail: dict[str, float | int | str | bool] = field(default_factory=dict)
    turns: list[tuple[int, int]] = field(default_factory=list)
    """Of an episode with tools: where each turn of the policy begins and ends in `token_ids`."""
    calls: list[MadeCall] = field(default_factory=list)
    age: int = 0
    """Optimiser steps between the weights that sampled it and those that learn from it."""

    def __post_init__(self) -> None:
        """Token, mask and log-probability of a place belong together: one too few would shift all that follow."""
        if not len(self.token_ids) == len(self.trained) == len(self.logprobs):
            raise ValueError(
                f"{len(self.token_ids)} tokens, {len(self.trained)} marks and {len(self.logprobs)} log-probabilities "
                "are no rollout"
            )

    @property
    def truncated(self) -> bool:
        return self.stop_reason in CUT_OFF

    @property
    def sampled(self) -> int:
        """Tokens that train."""
        return sum(self.trained)

    def document(self) -> TokenizedDocument:
        """Prompt and completion as one document whose sampled tokens are targets."""
        ids = np.array([*self.prompt.ids, *self.token_ids], dtype=np.int32)
        flags = np.zeros(len(ids), dtype=np.bool_)
        flags[len(self.prompt.ids) :] = self.trained
        return ids, flags

    def sampled_logprobs(self) -> list[float]:
        """Of the tokens that train; raises ValueError where one was not sampled."""
        found = [logp for logp, trained in zip(self.logprobs, self.trained, strict=True) if trained]
        if None in found:
            raise ValueError("a token that trains has no log-probability of the policy that sampled it")
        return [logp for logp in found if logp is not None]


def single_turn(prompt: Prompt, group: int, index: int, completion: Completion) -> Rollout:
    """A rollout of which every token was sampled."""
    return Rollout(
        prompt=prompt,
        group=group,
        index=index,
        token_ids=list(completion.token_ids),
        trained=[True] * len(completion.token_ids),
        logprobs=list(completion.logprobs),
        text=completion.text,
        stop_reason=completion.stop_reason,
    )


def groups_of(rollouts: Sequence[Rollout]) -> list[list[Rollout]]:
    """The rollouts by prompt, in the order of their groups."""
    found: dict[int, list[Rollout]] = {}
    for rollout in rollouts:
        found.setdefault(rollout.group, []).append(rollout)
    return list(found.values())
