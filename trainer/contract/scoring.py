"""What `python -m trainer score` reads and writes: answers to a prompt in a line, their scores in another."""

from typing import Any

from pydantic import NonNegativeInt, PositiveInt, TypeAdapter

from trainer.contract.base import Contract
from trainer.contract.rewards import RewardList

REWARDS: TypeAdapter[RewardList] = TypeAdapter(RewardList)


class GivenAnswer(Contract):
    text: str
    tokens: NonNegativeInt
    """Length in tokens, by whoever sampled it; in characters where nobody counted tokens."""
    truncated: bool = False
    """It was cut off instead of ending by itself."""


class AnswerGroup(Contract):
    """All answers to one prompt: rewards that compare answers see them together."""

    row: dict[str, Any]
    """The row that the prompt came from."""
    longest: PositiveInt
    """Tokens after which sampling would have been cut off."""
    prompt_text: str = ""
    answers: list[GivenAnswer]


class AnswerScore(Contract):
    total: float | None
    """Σ weight · value; None where a component failed."""
    components: dict[str, float | None]
    faults: dict[str, str] = {}
    """Failed component → why, in a sentence."""


class GroupScores(Contract):
    """One score for each answer of the group in the same line of the input."""

    scores: list[AnswerScore]
