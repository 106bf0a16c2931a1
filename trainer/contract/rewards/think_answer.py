"""The completion thinks first and then answers, each between its tags."""

from typing import Literal

from pydantic import Field

from trainer.contract.rewards.base import RewardBase


class ThinkAnswerReward(RewardBase):
    """1 when thinking and answer stand between their tags, exactly once, in this order, with nothing outside."""

    kind: Literal["think_answer"] = "think_answer"
    thinking_tag: str = Field(default="think", pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    """Name of the tag around the thinking. A prompt that ends with the opening tag counts as part of the completion."""
    answer_tag: str = Field(default="answer", pattern=r"^([A-Za-z][A-Za-z0-9_-]*)?$")
    """Name of the tag around the answer; empty: the answer is whatever follows the thinking."""
    partial: bool = False
    """A third each for: the thinking between its tags once; the answer between its tags once; both in order with
    nothing outside. Off: all or nothing."""
