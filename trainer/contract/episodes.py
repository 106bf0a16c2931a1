"""Episodes of agents as samples keep them, and what a board says of many of them."""

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

from pydantic import Field, NonNegativeInt

from trainer.contract.base import Contract
from trainer.contract.tool_calls import CallStatus

Amount = TypeVar("Amount", int, float)


class EpisodeCall(Contract):
    tool: str
    arguments: str
    """JSON text, or what was written where no arguments could be read."""
    status: CallStatus
    wall_ms: float = Field(ge=0, allow_inf_nan=False)
    output: str
    """What the model read."""


class EpisodeTurn(Contract):
    text: str
    """What the model wrote, without special tokens."""
    calls: list[EpisodeCall] = []
    """Calls of this turn with their answers, in their order."""


class ScoredEpisode(Contract):
    """How an agent came to its answer."""

    conversation: list[EpisodeTurn]
    stop_reason: str
    turns: NonNegativeInt
    calls: NonNegativeInt
    tool_errors: NonNegativeInt
    """Calls that were made and whose status is not ok."""
    malformed_calls: NonNegativeInt
    """Calls that could not be made: unreadable, of a tool that there is not, or more than a turn may make."""
    prompt_tokens: NonNegativeInt | None = None
    """Read in all turns together, the history anew in each, as endpoints count; None where nobody counted."""
    completion_tokens: NonNegativeInt | None = None
    """Written in all turns."""
    cost: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """In the currency of the price that was given; None without one."""
    seconds: float = Field(ge=0, allow_inf_nan=False)
    rewards: dict[str, float | None] = {}
    """By name; None where the reward could not value the answer."""
    faults: dict[str, str] = {}
    """Why not, in a sentence."""


class EpisodeSummary(Contract):
    """Of the scored items of one task."""

    items: NonNegativeInt
    turns: float
    """Mean of an item, as `calls` and `seconds` are."""
    calls: float
    seconds: float
    calls_in_all: NonNegativeInt
    tool_errors: NonNegativeInt
    malformed_calls: NonNegativeInt
    prompt_tokens: NonNegativeInt | None
    """Of all items together, as the two below; None where an item does not tell."""
    completion_tokens: NonNegativeInt | None
    cost: float | None
    stops: dict[str, NonNegativeInt]
    """Stop reason → items."""


def summarise_episodes(episodes: Sequence[ScoredEpisode]) -> EpisodeSummary | None:
    """None where no item was scored."""
    count = len(episodes)
    if not count:
        return None
    calls = sum(one.calls for one in episodes)
    return EpisodeSummary(
        items=count,
        turns=sum(one.turns for one in episodes) / count,
        calls=calls / count,
        seconds=sum(one.seconds for one in episodes) / count,
        calls_in_all=calls,
        tool_errors=sum(one.tool_errors for one in episodes),
        malformed_calls=sum(one.malformed_calls for one in episodes),
        prompt_tokens=_sum([one.prompt_tokens for one in episodes]),
        completion_tokens=_sum([one.completion_tokens for one in episodes]),
        cost=_sum([one.cost for one in episodes]),
        stops=dict(Counter(one.stop_reason for one in episodes).most_common()),
    )


def _sum(values: Sequence[Amount | None]) -> Amount | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
