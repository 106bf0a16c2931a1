"""The answer picks the right option."""

from typing import Literal

from pydantic import Field

from trainer.contract.rewards.base import AnswerRewardBase


class MultipleChoiceReward(AnswerRewardBase):
    """1 when the answer picks the right option, else 0. Options may be called A, ก or 1, or be written out."""

    kind: Literal["multiple_choice"] = "multiple_choice"
    reference: str = Field(default="answer", min_length=1)
    """Row field with the right option: label (`B`, `ข`, `2`), the option itself, or its index from 0 (a number)."""
    choices: str = Field(default="choices", min_length=1)
    """Row field that lists the options; not needed where the reference is a label."""
    options: int = Field(default=5, ge=2, le=10)
    """Options of a row that does not list them."""

    def row_fields(self) -> tuple[str, ...]:
        return (self.reference,)
