"""Supervised fine-tuning on conversations."""

from typing import Literal

from pydantic import Field, model_validator

from trainer.contract.stages.base import TrainingStage

THRESHOLDED = ("only_top_p", "only_bottom_p", "only_top_logp", "only_bottom_logp")


class SftStage(TrainingStage):
    """Likelihood of the answer tokens of `chat` rows, or another objective on their probability."""

    row_kinds = ("chat",)

    kind: Literal["sft"] = "sft"
    loss_on: Literal["assistant", "all"] = "assistant"
    """Which tokens train: the assistant's turns with their end token, or every token of the conversation."""
    objective: Literal["nll", "f_alpha", "only_top_p", "only_bottom_p", "only_top_logp", "only_bottom_logp"] = "nll"
    """Loss of a token of probability p. nll: −log p. f_alpha: (1 − p^alpha)/alpha. only_top_p and only_bottom_p: 1 − p
    where p is at least, or at most, the threshold; only_top_logp and only_bottom_logp: −log p there."""
    alpha: float = Field(default=1.0, ge=-20, le=20)
    """Exponent of f_alpha: 0 is nll, 1 is 1 − p, more trusts what the policy already believes, below 0 distrusts it."""
    threshold: float = Field(default=0.1, ge=0, le=1)
    """Probability at which the only_… objectives begin or end to train a token."""
    denominator: Literal["supervised", "kept"] = "supervised"
    """What the sum is divided by: all tokens that loss_on selects, or those that the threshold keeps."""

    @model_validator(mode="after")
    def _check_objective(self) -> "SftStage":
        for name, objectives in (("alpha", ("f_alpha",)), ("threshold", THRESHOLDED), ("denominator", THRESHOLDED)):
            changed = getattr(self, name) != type(self).model_fields[name].default
            if changed and self.objective not in objectives:
                raise ValueError(
                    f"{name} says nothing to the objective {self.objective}; "
                    f"use {' or '.join(objectives)}, or remove {name}"
                )
        return self
