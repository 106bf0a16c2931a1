"""Asked for what the law does not say, the policy says so; asked for what it says, it answers."""

import re
from typing import Literal

from pydantic import Field, field_validator

from trainer.contract.rewards.base import AnswerRewardBase


class AbstentionReward(AnswerRewardBase):
    """1 for an abstention where the row has no answer and for none where it has one, else 0."""

    kind: Literal["abstention"] = "abstention"
    answerable: str = Field(default="answerable", min_length=1)
    """Row field that is true or false: whether the question has an answer in the law as it stands."""
    pattern: str = Field(
        default=r"(?i)\b(no such (section|law)|does not exist|repealed)\b|ไม่มีมาตรา|ถูกยกเลิก", max_length=2000
    )
    """Regular expression of Python that an abstention matches somewhere."""

    @field_validator("pattern")
    @classmethod
    def _check_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        return pattern
