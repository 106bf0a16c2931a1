"""The answer is a reference answer, character for character."""

from typing import Literal

from pydantic import Field

from trainer.contract.rewards.base import AnswerRewardBase


class ExactReward(AnswerRewardBase):
    """1 when the answer equals the reference after Unicode and white space are normalised, else 0."""

    kind: Literal["exact"] = "exact"
    reference: str = Field(default="answer", min_length=1)
    """Row field with the reference answer, or with a list of answers of which one must be met."""
    ignore_case: bool = False

    def row_fields(self) -> tuple[str, ...]:
        return (self.reference,)
