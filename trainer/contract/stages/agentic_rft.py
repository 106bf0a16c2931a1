"""Reinforcement learning of a policy that uses tools."""

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from trainer.contract.needs import Sampling
from trainer.contract.stages.base import DataSource
from trainer.contract.stages.ink_grpo import InkGrpoStage


class AgenticRftStage(InkGrpoStage):
    """GRPO, or with a corpus InK-GRPO, over whole episodes: the policy calls tools, reads what they say, and answers.

    `sampling.max_new_tokens` is the room of an episode after its prompt: what the policy writes and what tools say.
    """

    title = "Agentic RFT"
    uses_tools: ClassVar[bool] = True

    kind: Literal["agentic_rft"] = "agentic_rft"  # type: ignore[assignment]  # a kind of its own
    corpus: list[DataSource] = []
    """Mixture of dataset versions with text to be known (InK-GRPO); empty: GRPO. It must not hold what the run is
    evaluated on."""
    turn_tokens: PositiveInt | None = None
    """Most tokens of one turn of the policy; empty: as many as the episode has room for."""
    tell_tools: bool = True
    """Describe the tools in every prompt; a policy that has learnt them can do without."""
    in_step: bool = False
    """Sample the next turns of all episodes together, when every tool has answered. Slower, since the slowest tool sets
    the pace; but what is computed side by side, and so every rounding, no longer depends on how fast tools are."""
    fewest_of_group: int = Field(default=2, ge=2)
    """Rollouts of a prompt that must have a value. Where tools failed for more of them, the whole group is masked."""

    def sampling_load(self, ranks: int) -> Sampling | None:
        """A prompt may have all of the sequence: a later turn follows all that went before it."""
        load = super().sampling_load(ranks)
        return load and load._replace(prompt_tokens=self.sequence_length)

    @model_validator(mode="after")
    def _check_group(self) -> "AgenticRftStage":
        if self.fewest_of_group > self.group_size:
            raise ValueError(f"fewest_of_group {self.fewest_of_group} is more than group_size {self.group_size} has")
        return self
