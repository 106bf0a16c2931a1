"""Group-relative policy optimisation."""

from typing import Literal

from trainer.contract.stages.rollouts import PolicyGradientStage


class GrpoStage(PolicyGradientStage):
    """Several completions of each prompt, valued by rewards: the better ones of a group become likelier."""

    kind: Literal["grpo"] = "grpo"
