"""Likelihood of the best of several completions."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from trainer.contract.rewards import RewardList
from trainer.contract.stages.rollouts import RolloutStage


class RfNllStage(RolloutStage):
    """Reward-filtered likelihood: sample several completions of each prompt and train on the best one alone."""

    kind: Literal["rf_nll"] = "rf_nll"
    group_size: PositiveInt = 4
    """Rollouts per prompt, of which the best trains; must divide batch_size."""
    rewards: RewardList = Field(min_length=1)
    """What a completion is worth: the sum of weight times value."""
    least_reward: float | None = None
    """Reward that the best completion must reach to train; empty: any, where not all are worth the same."""

    @model_validator(mode="after")
    def _check_contest(self) -> "RfNllStage":
        if self.group_size == 1 and self.least_reward is None:
            raise ValueError("group_size 1 leaves nothing to choose from; raise it or set least_reward")
        return self
