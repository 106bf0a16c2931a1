"""Supervised fine-tuning on conversations."""

from typing import Literal

from trainer.contract.stages.base import TrainingStage


class SftStage(TrainingStage):
    """Negative log-likelihood of the answer tokens of `chat` rows."""

    kind: Literal["sft"] = "sft"
    loss_on: Literal["assistant", "all"] = "assistant"
    """Which tokens train: the assistant's turns with their end token, or every token of the conversation."""
