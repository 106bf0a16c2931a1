"""The policy uses its tools, and in the right form: the first lesson, before answers are judged."""

from typing import Literal

from pydantic import PositiveInt

from trainer.contract.rewards.base import RewardBase


class ToolFormReward(RewardBase):
    """Share of the calls that could be made; 0 with too few of them."""

    kind: Literal["tool_form"] = "tool_form"
    tools: list[str] = []
    """Tools that must be called; empty: any."""
    fewest: PositiveInt = 1
    """Calls that there must be at least."""
