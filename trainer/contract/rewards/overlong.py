"""Soft punishment of completions that come near the longest one allowed."""

from typing import Literal

from pydantic import PositiveInt, model_validator

from trainer.contract.rewards.base import RewardBase


class OverlongReward(RewardBase):
    """0 up to `buffer` tokens before the limit, falling to -1 at the limit."""

    kind: Literal["overlong"] = "overlong"
    buffer: PositiveInt = 1024
    """Tokens before the limit over which the punishment grows."""
    limit: PositiveInt | None = None
    """Tokens at which it is -1; empty: the longest completion that the stage samples."""

    @model_validator(mode="after")
    def _check_buffer(self) -> "OverlongReward":
        if self.limit is not None and self.buffer > self.limit:
            raise ValueError(f"buffer {self.buffer} is more than limit {self.limit}; make it smaller")
        return self

    def check_longest(self, longest: int) -> str:
        limit = self.limit or longest
        if limit > longest:
            return f"limit: {limit} is more than the {longest} tokens that are sampled at most; make it smaller"
        if self.buffer > limit:
            return f"buffer: {self.buffer} is more than the limit of {limit} tokens; make it smaller"
        return ""
