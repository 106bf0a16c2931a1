"""Direct preference optimisation on pairs that the policy samples and rewards tell apart."""

from typing import Literal

from pydantic import Field, PositiveFloat

from trainer.contract.rewards import RewardList
from trainer.contract.stages.rollouts import RolloutStage


class OnlineDpoStage(RolloutStage):
    """Sample several completions of each prompt and prefer the one of highest reward over the one of lowest."""

    kind: Literal["online_dpo"] = "online_dpo"
    group_size: int = Field(default=2, ge=2)
    """Rollouts per prompt, of which the best and the worst make a pair; must divide batch_size."""
    rewards: RewardList = Field(min_length=1)
    """What a completion is worth: the sum of weight times value."""
    loss: Literal["sigmoid", "ipo"] = "sigmoid"
    """sigmoid: −log σ(beta · margin), which always wants a larger margin. ipo: (margin − 1/(2 beta))², which wants
    that one."""
    beta: PositiveFloat = 0.1
    """How strongly the policy is held to the reference, the policy as it enters the stage: larger stays nearer."""
    least_difference: float = Field(default=0.0, ge=0)
    """Pairs whose rewards differ by no more than this are ties and teach nothing."""
