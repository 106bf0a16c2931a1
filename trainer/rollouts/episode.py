"""One episode of a policy with tools, as a machine of named states.

    WRITING ── wrote: no calls ──────────────▶ ENDED (answered)
       │ ▲ └── wrote: cut off, turn limit ───▶ ENDED (length, turn limit)
       ▼ │
    CALLING ── answered: failed too often, no room, time over, service failed ──▶ ENDED

Nothing here waits or asks anybody: who plays the episode samples its turns and makes its calls (`playing.py`), and
tells it what came of them. Tokens are kept as they were sampled and as they were given; no text becomes tokens twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from trainer.contract.toolsets import ToolLimits, cut_output
from trainer.rollouts.calls import Call, final_answer, read_calls
from trainer.rollouts.prompts import Prompt
from trainer.rollouts.rollout import NOT_MADE, SERVICE_FAILED, TIMED_OUT, Ending, MadeCall, Rollout, ToolResult
from trainer.sampling.engine import Completion, SamplingRequest, StopReason
from trainer.sampling.randomness import seed_for


class State(StrEnum):
    WRITING = "writing"
    CALLING = "calling"
    ENDED = "ended"


class BetweenTurns(Protocol):
    def between(self, answers: Sequence[str], *, ended: bool) -> list[int]: ...


@dataclass
class Episode:
    """Fills as it is played."""

    prompt: Prompt
    group: int
    index: int
    seed: int
    room: int
    """Tokens after the prompt, sampled and given ones together."""
    limits: ToolLimits
    writer: BetweenTurns
    tools: dict[str, dict[str, Any]]
    """Name → JSON schema of the arguments."""
    end_tokens: frozenset[int]
    state: State = State.WRITING
    ending: Ending | None = None
    reason: str = ""
    """More on why it ended, where there is more to say."""
    turns: int = 0
    token_ids: list[int] = field(default_factory=list)
    trained: list[bool] = field(default_factory=list)
    logprobs: list[float | None] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    """Of each turn in `token_ids`, start and end."""
    answer: str = ""
    """What the last turn says without its thoughts; empty for an episode that ended otherwise than by answering."""
    made: list[MadeCall] = field(default_factory=list)
    _calls: list[Call] = field(default_factory=list)

    def request(
        self, *, temperature: float, top_p: float, turn_tokens: int | None = None, stop: tuple[str, ...] = ()
    ) -> SamplingRequest:
        """The policy's next turn."""
        assert self.state is State.WRITING
        left = self.room - len(self.token_ids)
        return SamplingRequest(
            prompt_ids=(*self.prompt.ids, *self.token_ids),
            max_new_tokens=min(left, turn_tokens or left),
            temperature=temperature,
            top_p=top_p,
            seed=seed_for(self.seed, f"turn {self.turns}"),
            stop=stop,
        )

    def wrote(self, completion: Completion) -> None:
        """Take the policy's turn; then the episode has calls to make, or is over."""
        assert self.state is State.WRITING
        start = len(self.token_ids)
        self._append(completion.token_ids, completion.logprobs)
        self.spans.append((start, len(self.token_ids)))
        self.turns += 1
        if completion.stop_reason is StopReason.INTERRUPTED:
            return self.end(Ending.INTERRUPTED)
        if completion.stop_reason in (StopReason.LENGTH, StopReason.CONTEXT):
            return self.end(Ending.LENGTH)
        return self.take(read_calls(completion.text, self.tools), final_answer(completion.text))

    def take(self, calls: list[Call], answer: str) -> None:
        """Go on from a whole turn: to its calls, or to the end with its answer."""
        self._calls = calls
        if not self._calls:
            self.answer = answer
            return self.end(Ending.ANSWERED)
        if self.turns >= self.limits.turns:
            return self.end(Ending.TURN_LIMIT)
        self.state = State.CALLING
        return None

    def calls(self) -> list[Call]:
        """Those to be made now: that can be made, and no more than a turn may make."""
        assert self.state is State.CALLING
        return [call for call in self._calls[: self.limits.calls_per_turn] if not call.fault]

    def answered(self, results: Sequence[ToolResult]) -> None:
        """Take the results of `calls()` in their order; then the policy writes again, or the episode is over."""
        found = iter(results)
        told = []
        for place, call in enumerate(self._calls):
            if place >= self.limits.calls_per_turn:
                fault = f"not made: a turn may make {self.limits.calls_per_turn} calls"
                result = ToolResult(NOT_MADE, f"Error: {fault}.", tries=0)
            elif call.fault:
                result = ToolResult(NOT_MADE, f"Error: {call.fault}.", tries=0)
            else:
                result = next(found)
            self.made.append(MadeCall(self.turns, call, result))
            told.append(cut_output(result.text, self.limits))
        self._calls = []
        broken = [one for one in results if one.status == SERVICE_FAILED]
        if broken:
            return self.end(Ending.SERVICE_FAILED, broken[0].text)
        if self.failed_calls >= self.limits.failed_calls:
            return self.end(Ending.FAILED_CALLS)
        ended = bool(self.token_ids) and self.token_ids[-1] in self.end_tokens
        between = self.writer.between(told, ended=ended)
        if len(self.token_ids) + len(between) >= self.room:
            return self.end(Ending.LENGTH)
        self._append(between, None)
        self.state = State.WRITING
        return None

    def run_out_of_time(self) -> None:
        """The episode's time was over while calls were being made: they are told of, and nobody reads an answer."""
        assert self.state is State.CALLING
        unanswered = ToolResult(TIMED_OUT, "Error: the episode's time was over before the tool had answered.")
        self.made += [MadeCall(self.turns, call, unanswered) for call in self.calls()]
        self.end(Ending.DEADLINE)

    def end(self, ending: Ending, reason: str = "") -> None:
        self.state, self.ending, self.reason = State.ENDED, ending, reason

    @property
    def failed_calls(self) -> int:
        """Calls that failed for the policy's own fault."""
        return sum(one.result.status == NOT_MADE for one in self.made)

    def rollout(self) -> Rollout:
        """The finished episode as what training takes."""
        assert self.ending is not None
        masked = ""
        if self.ending is Ending.SERVICE_FAILED:
            masked = f"A tool could not be asked: {self.reason}"
        return Rollout(
            prompt=self.prompt,
            group=self.group,
            index=self.index,
            token_ids=self.token_ids,
            trained=self.trained,
            logprobs=self.logprobs,
            text=self.answer,
            stop_reason=self.ending,
            masked=masked,
            turns=self.spans,
            calls=self.made,
        )

    def _append(self, tokens: Sequence[int], logprobs: Sequence[float] | None) -> None:
        self.token_ids += tokens
        self.trained += [logprobs is not None] * len(tokens)
        self.logprobs += logprobs if logprobs is not None else [None] * len(tokens)
