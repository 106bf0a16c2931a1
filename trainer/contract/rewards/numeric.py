"""The last number of the answer is the reference's."""

from typing import Literal

from pydantic import Field

from trainer.contract.rewards.base import AnswerRewardBase


class NumericReward(AnswerRewardBase):
    """1 when the last number of the answer is the last number of the reference, in digits of any script, else 0."""

    kind: Literal["numeric"] = "numeric"
    reference: str = Field(default="answer", min_length=1)
    """Row field with the reference answer."""
    tolerance: float = Field(default=0.0, ge=0, lt=1)
    """Largest difference that counts as equal, as a share of the reference."""

    def row_fields(self) -> tuple[str, ...]:
        return (self.reference,)
