"""Shorter than the others of its group when correct."""

from typing import Literal

from trainer.contract.rewards.base import CorrectnessRewardBase


class KimiReward(CorrectnessRewardBase):
    """From 0.5 for the shortest answer of a group to -0.5 for the longest; wrong answers never gain by it."""

    kind: Literal["kimi"] = "kimi"
