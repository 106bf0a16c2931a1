"""Group-relative policy optimisation."""

from typing import ClassVar, Literal

from trainer.contract.stages.rollouts import PolicyGradientStage


class GrpoStage(PolicyGradientStage):
    """Several completions of each prompt, valued by rewards: the better ones of a group become likelier."""

    title: ClassVar[str] = "GRPO"

    kind: Literal["grpo"] = "grpo"
