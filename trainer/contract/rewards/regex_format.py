"""The completion has the form that a pattern describes."""

import re
from typing import Literal

from pydantic import Field, field_validator

from trainer.contract.rewards.base import AnswerRewardBase


class RegexFormatReward(AnswerRewardBase):
    """1 when the pattern matches, else 0."""

    kind: Literal["regex_format"] = "regex_format"
    read: Literal["whole", "after_thinking", "answer_tag"] = "whole"
    """Which part must match."""
    pattern: str = Field(min_length=1, max_length=2000)
    """Regular expression of Python."""
    match: Literal["full", "search"] = "full"
    """full: the whole part must match; search: anywhere in it."""
    dot_matches_newline: bool = True
    seconds: float = Field(default=1.0, gt=0, le=10)
    """Time for one answer. A pattern that takes longer could not judge it: the rollout is masked."""

    @field_validator("pattern")
    @classmethod
    def _check_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        return pattern
