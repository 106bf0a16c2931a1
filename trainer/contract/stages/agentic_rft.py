"""Reinforcement learning of a policy that uses tools."""

from typing import ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from trainer.contract.mixture import MixtureSource
from trainer.contract.needs import FrozenModel, Sampling
from trainer.contract.stages.ink_grpo import InkGrpoStage


class AgenticRftStage(InkGrpoStage):
    """GRPO, or with a corpus InK-GRPO, over whole episodes: the policy calls tools, reads what they say, and answers.

    `sampling.max_new_tokens` is the room of an episode after its prompt: what the policy writes and what tools say.
    """

    title = "Agentic RFT"
    uses_tools: ClassVar[bool] = True

    kind: Literal["agentic_rft"] = "agentic_rft"  # type: ignore[assignment]  # a kind of its own
    corpus: list[MixtureSource] = []
    """Mixture of dataset versions with text to be known (InK-GRPO); empty: GRPO. It must not hold what the run is
    evaluated on."""
    turn_tokens: PositiveInt | None = None
    """Most tokens of one turn of the policy; empty: as many as the episode has room for."""
    tell_tools: bool = True
    """Describe the tools in every prompt; a policy that has learnt them can do without."""
    in_step: bool = False
    """Sample the next turns of all episodes together, when every tool has answered. Slower, since the slowest tool sets
    the pace; but what is computed side by side, and so every rounding, no longer depends on how fast tools are."""
    stale_steps: NonNegativeInt = 0
    """Most optimiser steps between the weights that sample an episode and those that learn from it. 0: episodes are
    sampled by the very weights that begin to learn from them. More: the next round's episodes are played while the
    policy learns from this round's, by a copy of the weights at hand; `importance_cap` bounds the correction."""
    fewest_of_group: int = Field(default=2, ge=2)
    """Rollouts of a prompt that must have a value. Where tools failed for more of them, the whole group is masked."""

    def sampling_load(self, ranks: int) -> Sampling | None:
        """A prompt may have all of the sequence: a later turn follows all that went before it."""
        load = super().sampling_load(ranks)
        return load and load._replace(prompt_tokens=self.sequence_length, while_learning=bool(self.stale_steps))

    def frozen_models(self, ranks: int) -> list[FrozenModel]:
        """The copy that samples the next round is there in every phase."""
        found = super().frozen_models(ranks)
        if not self.stale_steps:
            return found
        return [*found, FrozenModel("behaviour", "", "student", 0, beside_policy=True, saved=True)]

    @model_validator(mode="after")
    def _check_staleness(self) -> "AgenticRftStage":
        if not self.stale_steps:
            return self
        oldest = 2 * self.updates_per_rollout - 1
        if self.stale_steps < oldest:
            raise ValueError(
                f"stale_steps {self.stale_steps} is less than the {oldest} steps that episodes of the next round are "
                f"old with updates_per_rollout {self.updates_per_rollout}; set it to {oldest} or more, or to 0"
            )
        if self.importance_cap is None:
            raise ValueError(
                "stale_steps needs an importance_cap: episodes of older weights are weighed by it; set it, or "
                "stale_steps to 0"
            )
        if self.sampler != "torch":
            raise ValueError(
                f"stale_steps goes with sampler torch, not {self.sampler}, which has one set of weights at a time; "
                "set stale_steps to 0"
            )
        for field in ("swap", "sharding"):
            if getattr(self.compute, field) == "on":
                raise ValueError(
                    f"stale_steps keeps whole weights for the next round's episodes in place while the policy learns, "
                    f"which compute.{field} on rules out; set compute.{field} to off, or stale_steps to 0"
                )
        return self

    @model_validator(mode="after")
    def _check_group(self) -> "AgenticRftStage":
        if self.fewest_of_group > self.group_size:
            raise ValueError(f"fewest_of_group {self.fewest_of_group} is more than group_size {self.group_size} has")
        return self
