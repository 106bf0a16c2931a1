"""Group-relative policy optimisation that also reads."""

from typing import ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from trainer.contract.mixture import MixtureSource
from trainer.contract.stages.rollouts import PolicyGradientStage


class InkGrpoStage(PolicyGradientStage):
    """GRPO, and on some steps, drawn by a coin, likelihood of domain text: knowledge that rewards alone cannot give."""

    title = "InK-GRPO"
    further_row_kinds: ClassVar[dict[str, tuple[str, ...]]] = {"corpus": ("text",)}
    apart_from_tasks: ClassVar[tuple[str, ...]] = ("corpus",)

    kind: Literal["ink_grpo"] = "ink_grpo"
    corpus: list[MixtureSource] = Field(min_length=1)
    """Mixture of dataset versions with the text to be known. It must not hold what the run is evaluated on."""
    knowledge_weight: NonNegativeFloat = 0.1
    """Weight of the text's loss per token against the policy's (λ)."""
    knowledge_rate: float = Field(default=0.6, ge=0, le=1)
    """Chance that an optimiser step also reads text (ρ)."""
    knowledge_batch_size: PositiveInt = 16
    """Packed sequences of text in a step that reads, each of sequence_length tokens."""
