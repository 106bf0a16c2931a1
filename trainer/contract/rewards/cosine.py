"""Short when correct, longer when wrong, never too long."""

from typing import Literal

from pydantic import Field, PositiveInt

from trainer.contract.rewards.base import CorrectnessRewardBase


class CosineReward(CorrectnessRewardBase):
    """Falls with length for correct answers and rises with it for wrong ones, along half a cosine.

    It counts correctness already: give the reward that `correct` names the weight 0.
    """

    kind: Literal["cosine"] = "cosine"
    correct_short: float = Field(default=1.0, allow_inf_nan=False)
    """Value of a correct answer of length 0."""
    correct_long: float = Field(default=0.5, allow_inf_nan=False)
    """Value of a correct answer just below the limit."""
    wrong_short: float = Field(default=-1.0, allow_inf_nan=False)
    """Value of a wrong answer of length 0."""
    wrong_long: float = Field(default=-0.5, allow_inf_nan=False)
    """Value of a wrong answer just below the limit."""
    exceed: float = Field(default=-1.0, allow_inf_nan=False)
    """Value of any completion that reaches the limit."""
    limit: PositiveInt | None = None
    """Tokens at which a completion is too long; empty: the longest completion that the stage samples."""

    def check_longest(self, longest: int) -> str:
        if self.limit and self.limit > longest:
            return f"limit: {self.limit} is more than the {longest} tokens that are sampled at most; make it smaller"
        return ""
