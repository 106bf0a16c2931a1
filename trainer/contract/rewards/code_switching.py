"""The answer stays in one language, as far as its letters show."""

from typing import Literal

from pydantic import Field

from trainer.contract.rewards.base import AnswerRewardBase
from trainer.contract.rewards.writing import Script


class CodeSwitchingReward(AnswerRewardBase):
    """1 when no letter belongs to another script and the main one prevails, else 0."""

    kind: Literal["code_switching"] = "code_switching"
    read: Literal["whole", "after_thinking", "answer_tag"] = "whole"
    """Which part is looked at."""
    main: Script = "Thai"
    """Script that the answer must be written in."""
    also: list[Script] = []
    """Scripts that may be used freely beside it, such as Latin."""
    names: bool = True
    """Let words of other scripts pass where they are names: Latin words with a capital letter, and words that the
    question contains."""
    main_share: float = Field(default=0.5, ge=0, le=1)
    """Smallest share of the main script in all letters, names included."""
    graded: bool = False
    """Give 1 minus the share of foreign letters, instead of 0, where some are foreign."""
    skip_code: bool = True
    """Do not look at code between backticks, nor at web addresses."""
