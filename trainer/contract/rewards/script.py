"""The answer is written in the right script."""

from typing import Literal

from pydantic import Field

from trainer.contract.rewards.base import AnswerRewardBase
from trainer.contract.rewards.writing import Script


class ScriptReward(AnswerRewardBase):
    """Share of the letters that belong to the allowed scripts."""

    kind: Literal["script"] = "script"
    read: Literal["whole", "after_thinking", "answer_tag"] = "whole"
    """Which part is looked at."""
    scripts: list[Script] = Field(min_length=1)
    """Allowed writing systems, such as Thai or Latin."""
    at_least: float | None = Field(default=None, gt=0, le=1)
    """Give 1 from this share on and 0 below it, instead of the share."""
    skip_code: bool = True
    """Do not look at code between backticks, nor at web addresses."""
