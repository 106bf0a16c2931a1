"""What stages share that sample from the policy they train, and what group-relative policy gradients share."""

from typing import ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from trainer.contract.base import Contract
from trainer.contract.needs import FrozenModel, Sampling
from trainer.contract.rewards import RewardList, check_longest
from trainer.contract.stages.base import TrainingStage


class SamplingConfig(Contract):
    """How completions are sampled. Log-probabilities are taken at the same temperature when they train."""

    max_new_tokens: PositiveInt = 256
    """Longest completion in tokens."""
    temperature: PositiveFloat = 1.0
    """1 samples the policy as it is; lower is sharper."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Share of probability kept when sampling. Below 1 the rollouts are not quite the policy's own: importance weights
    then carry that bias."""
    stop: list[str] = []
    """Strings that end a completion, beside the policy's own end tokens."""


class RolloutStage(TrainingStage):
    """A training stage whose completions are sampled by the policy itself."""

    row_kinds: ClassVar[tuple[str, ...]] = ("prompts",)

    batch_size: PositiveInt = 64
    """Rollouts per optimiser step: prompts times group_size."""
    group_size: PositiveInt = 8
    """Rollouts per prompt; must divide batch_size."""
    sequence_length: int = Field(default=512, ge=8)
    """Longest prompt and completion together, in tokens."""
    sampling: SamplingConfig = SamplingConfig()
    sampler: Literal["torch", "vllm"] = "torch"
    """What samples: the trainer's own engine on the policy's weights, the same on every machine; or vLLM, which must be
    installed beside the trainer or served, faster for large policies on GPUs."""
    system_prompt: str = Field(default="", max_length=20_000)
    """System turn put before every prompt that has none; empty: none."""
    long_prompts: Literal["refuse", "drop"] = "refuse"
    """What happens when a prompt leaves no room for the longest completion: the run is refused, or such rows are left
    out and counted."""
    updates_per_rollout: PositiveInt = 1
    """Optimiser steps between two rounds of sampling. A round samples the rollouts of all of them, so that all but the
    first step train on rollouts of slightly older weights."""

    @property
    def prompts_per_step(self) -> int:
        return self.batch_size // self.group_size

    def sampling_load(self, ranks: int) -> Sampling | None:
        prompts = -(-self.prompts_per_step * self.updates_per_rollout // ranks)
        return Sampling(
            rows=prompts * self.group_size,
            tokens=self.sequence_length,
            prompt_tokens=self.sequence_length - self.sampling.max_new_tokens,
            prompts=prompts,
            nucleus=self.sampling.top_p < 1,
            vllm=self.sampler == "vllm",
        )

    @model_validator(mode="after")
    def _check_sampler(self) -> "RolloutStage":
        if self.sampler != "vllm":
            return self
        temperature, top_p = self.sampling.temperature, self.sampling.top_p
        if top_p < 1 and temperature != 1:
            raise ValueError(
                f"sampler vllm gives log-probabilities before temperature and top_p or after both, and temperature "
                f"{temperature:g} with top_p {top_p:g} wants them between; set sampling.top_p or sampling.temperature "
                "to 1, or choose sampler torch"
            )
        if not 0.01 <= temperature <= 2:
            raise ValueError(
                f"sampler vllm takes a sampling.temperature of 0.01 to 2, not {temperature:g}; choose one in between "
                "or sampler torch"
            )
        return self

    @model_validator(mode="after")
    def _check_rollouts(self) -> "RolloutStage":
        if self.batch_size % self.group_size:
            raise ValueError(
                f"group_size {self.group_size} does not divide batch_size {self.batch_size}; make batch_size a "
                "multiple of it"
            )
        if self.sampling.max_new_tokens >= self.sequence_length:
            raise ValueError(
                f"sampling.max_new_tokens {self.sampling.max_new_tokens} leaves no room for a prompt within "
                f"sequence_length {self.sequence_length}; lower the one or raise the other"
            )
        rewards: RewardList = getattr(self, "rewards", [])
        if rewards and not any(reward.weight for reward in rewards):
            raise ValueError(
                "rewards: every weight is 0, so all completions are worth the same; give one of them a weight"
            )
        for place, source in enumerate(self.data):
            if source.max_tokens is not None:
                raise ValueError(
                    f"data[{place}].max_tokens: prompts are drawn by the row here, not by the token; use max_passes or "
                    "max_rows"
                )
        every = self.updates_per_rollout
        for field in ("steps", "checkpoint_every", "measure_every"):
            if (getattr(self, field) or 0) % every:
                raise ValueError(
                    f"updates_per_rollout {every} does not divide {field} {getattr(self, field)}; "
                    "a stage is saved and measured between two rounds of sampling"
                )
        return self


class DynamicSampling(Contract):
    """Replacing prompts whose rollouts are all worth the same, which teach nothing (DAPO, arXiv:2503.14476)."""

    rounds: NonNegativeInt = 0
    """How often further prompts are sampled to fill the batch; 0 keeps every prompt."""


class PolicyGradientStage(RolloutStage):
    """Reinforcement learning from groups of rollouts."""

    group_size: int = Field(default=8, ge=2)
    """Rollouts per prompt; must divide batch_size."""
    rewards: RewardList = Field(min_length=1)
    """What a completion is worth: the sum of weight times value."""
    divide_by_std: bool = True
    """Divide advantages by the standard deviation of the group (GRPO); without, they are reward minus mean
    (Dr. GRPO)."""
    std_epsilon: PositiveFloat = 1e-6
    """Added to that standard deviation."""
    aggregation: Literal["token_mean", "sequence_mean", "constant"] = "token_mean"
    """How losses of tokens become one: the mean over all tokens of the optimiser step (DAPO); the mean over rollouts of
    each one's mean (GRPO); the sum of a rollout over max_new_tokens, averaged over rollouts (Dr. GRPO)."""
    ratio: Literal["token", "sequence"] = "token"
    """What is weighed and clipped against the policy that sampled: every token, or the whole rollout by the geometric
    mean over its tokens (GSPO); sequence goes with aggregation sequence_mean and clips around 0.0003."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """A token is pushed down no further once it is this share less likely than when it was sampled."""
    clip_high: PositiveFloat = 0.2
    """A token is pushed up no further once it is this share likelier than when it was sampled."""
    dual_clip: float | None = Field(default=None, gt=1)
    """Largest weight of a token with negative advantage; empty: unbounded."""
    importance_cap: PositiveFloat | None = 2.0
    """Largest weight by which a token is corrected for the difference between sampler and trainer; empty: no
    correction."""
    kl_weight: NonNegativeFloat = 0.0
    """Weight of the divergence from the reference, the policy as it enters the stage (k3 estimator); 0: no
    reference."""
    filter_overlong: bool = False
    """Give no gradient to rollouts that were cut off; they still count in their group's mean."""
    dynamic_sampling: DynamicSampling = DynamicSampling()

    def frozen_models(self, ranks: int) -> list[FrozenModel]:
        if not self.kl_weight:
            return []
        several = self.updates_per_rollout > 1
        tokens = self.micro_batch_tokens(ranks)
        return [FrozenModel("reference", "", "teacher", tokens, beside_policy=several, saved=True)]

    @model_validator(mode="after")
    def _check_policy_gradient(self) -> "PolicyGradientStage":
        if self.ratio == "sequence" and self.aggregation != "sequence_mean":
            raise ValueError(
                f"ratio sequence goes with aggregation sequence_mean, not {self.aggregation}: a rollout has one weight"
            )
        if problems := check_longest(self.rewards, self.sampling.max_new_tokens):
            raise ValueError("; ".join(problems))
        return self
