"""Against saying the same thing again and again."""

from typing import Literal

from pydantic import Field, PositiveInt

from trainer.contract.rewards.base import AnswerRewardBase


class RepetitionReward(AnswerRewardBase):
    """Minus the share of n-grams that occurred before in the same text."""

    kind: Literal["repetition"] = "repetition"
    read: Literal["whole", "after_thinking", "answer_tag"] = "whole"
    """Which part is looked at."""
    unit: Literal["characters", "words"] = "characters"
    """What an n-gram consists of. Words are what white space separates, which Thai writing does not do."""
    size: PositiveInt = 20
    """Units in an n-gram."""
    tolerated: float = Field(default=0.0, ge=0, lt=1)
    """Share of repeated n-grams that costs nothing; the value still falls to -1 as everything repeats."""
