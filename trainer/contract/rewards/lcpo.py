"""Completions of the length that the prompt asks for."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from trainer.contract.rewards.base import RewardBase


class LcpoReward(RewardBase):
    """Minus `alpha` for every token more or less than asked for. Put it beside a reward for correctness."""

    kind: Literal["lcpo"] = "lcpo"
    alpha: PositiveFloat = 0.0003
    target_field: str = Field(default="target_tokens", min_length=1)
    """Row field with the number of tokens that the prompt asks for."""
    target: PositiveInt | None = None
    """Tokens asked for in every row, instead of a row field."""

    def row_fields(self) -> tuple[str, ...]:
        return () if self.target else (self.target_field,)
