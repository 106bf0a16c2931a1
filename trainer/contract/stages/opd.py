"""On-policy distillation: a teacher's distribution at every token that the student writes itself."""

from typing import ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from trainer.contract.stages.rollouts import RolloutStage, SamplingConfig


class OpdStage(RolloutStage):
    """Draw the policy towards a teacher's next-token distributions, on its own completions and on given answers."""

    row_kinds: ClassVar[tuple[str, ...]] = ("chat", "prompts")
    use: ClassVar[Literal["train", "distil"]] = "distil"
    names_models: ClassVar[tuple[str, ...]] = ("teacher",)

    kind: Literal["opd"] = "opd"
    teacher: str = Field(min_length=1)
    """Model of the project that is distilled. It must have the policy's tokenizer."""
    teacher_prompt: str = Field(default="", max_length=20_000)
    """System text that only the teacher reads, before the prompt; empty: it reads what the policy reads."""
    on_policy: float = Field(default=0.25, ge=0, le=1)
    """Chance that an optimiser step trains on completions of the policy itself (λ); other steps take the answers of the
    rows."""
    beta: float = Field(default=0.0, ge=0, le=1)
    """Which divergence: 0 is forward KL, which covers all that the teacher says; 1 is reverse KL, which avoids what it
    would not say; between is generalized Jensen-Shannon divergence."""
    top_k: PositiveInt | None = None
    """Compare only the teacher's likeliest tokens at each place, both distributions renormalised among them; empty: the
    whole vocabulary."""
    temperature: PositiveFloat = 1.0
    """Both models' logits are divided by it before they are compared."""
    estimator: Literal["full", "sampled"] = "full"
    """full: the divergence of the whole distributions. sampled: on the policy's own completions, reverse KL estimated
    from the sampled tokens alone, by policy gradient: the teacher then needs to say one number a token. Wants beta 1
    and on_policy 1."""
    cross_entropy_weight: NonNegativeFloat = 0.0
    """Weight of the likelihood of given answers, added on steps that are not on-policy."""
    teacher_batch_size: PositiveInt = 8
    """Completions that go through the teacher at a time. Changes memory, not the result."""
    group_size: PositiveInt = 1
    """Completions per prompt; must divide batch_size."""
    batch_size: PositiveInt = 16
    """Completions per optimiser step: prompts times group_size."""
    sampling: SamplingConfig = SamplingConfig(top_p=0.95)

    @model_validator(mode="after")
    def _check_estimator(self) -> "OpdStage":
        if self.estimator == "sampled":
            wanted: dict[str, tuple[object, object]] = {
                "beta": (self.beta, 1.0),
                "on_policy": (self.on_policy, 1.0),
                "top_k": (self.top_k, None),
                "sampling.top_p": (self.sampling.top_p, 1.0),
                "sampling.temperature": (self.sampling.temperature, self.temperature),
            }
            for field, (given, fitting) in wanted.items():
                if given != fitting:
                    word = "leave it empty" if fitting is None else f"set it to {fitting:g}"
                    raise ValueError(f"{field} {given} does not go with estimator sampled; {word}")
        if self.on_policy == 1.0 and self.cross_entropy_weight:
            raise ValueError("cross_entropy_weight needs steps on given answers; lower on_policy or remove it")
        return self
