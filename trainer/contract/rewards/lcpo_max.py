"""Correct completions that stay within the length that the prompt allows."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from trainer.contract.rewards.base import CorrectnessRewardBase


class LcpoMaxReward(CorrectnessRewardBase):
    """0 for a wrong answer; for a correct one `delta` at the allowed length, more below it, less above it.

    It counts correctness already: give the reward that `correct` names the weight 0.
    """

    kind: Literal["lcpo_max"] = "lcpo_max"
    alpha: PositiveFloat = 0.0003
    delta: float = Field(default=0.5, ge=0, le=1)
    """Value at exactly the allowed length, so that a slight overrun is tolerated."""
    target_field: str = Field(default="target_tokens", min_length=1)
    """Row field with the number of tokens that the prompt allows."""
    target: PositiveInt | None = None
    """Tokens allowed in every row, instead of a row field."""

    def row_fields(self) -> tuple[str, ...]:
        return () if self.target else (self.target_field,)
