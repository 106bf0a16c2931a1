"""Next-token training on text, from an existing policy or from random weights."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from trainer.contract.base import Contract
from trainer.contract.stages.base import TrainingStage


class TokenizerShape(Contract):
    """A byte-level BPE tokenizer trained on the stage's own text: any Unicode string can be encoded."""

    vocab_size: int = Field(default=1024, ge=280)
    """Entries including the 256 bytes and the special tokens."""


class ModelShape(Contract):
    """Sizes of a randomly initialised policy of the Qwen3 architecture."""

    hidden_size: PositiveInt = 96
    layers: PositiveInt = 2
    heads: PositiveInt = 4
    kv_heads: PositiveInt = 2
    head_dim: PositiveInt = 32
    ffn_size: PositiveInt = 256
    context_length: PositiveInt = 512
    rope_theta: PositiveFloat = 10_000.0
    linear_std: PositiveFloat = 0.04
    """Standard deviation of linear weights; output projections are divided by sqrt(2 · layers)."""
    embedding_std: PositiveFloat = 0.08
    qk_gain: PositiveFloat = 1.0
    """Initial gain of the query and key norms; larger lets attention become sharp sooner."""
    tokenizer: TokenizerShape = TokenizerShape()

    @model_validator(mode="after")
    def _check_heads(self) -> "ModelShape":
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads {self.kv_heads} does not divide heads {self.heads}")
        return self


class CptStage(TrainingStage):
    """Continued pretraining: every token of every document is a target, documents never see each other."""

    row_kinds = ("text",)

    kind: Literal["cpt"] = "cpt"
    initialise: ModelShape | None = None
    """Start from random weights of this shape instead of from the policy; only in the first stage."""
