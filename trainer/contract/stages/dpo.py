"""Direct preference optimisation on pairs of answers from a dataset."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from trainer.contract.stages.base import TrainingStage


class DpoStage(TrainingStage):
    """Make the preferred of two given answers likelier than the other, against the policy that entered the stage."""

    row_kinds = ("preferences",)

    kind: Literal["dpo"] = "dpo"
    loss: Literal["sigmoid", "ipo"] = "sigmoid"
    """sigmoid: −log σ(beta · margin), which always wants a larger margin. ipo: (margin − 1/(2 beta))², which wants
    that one."""
    beta: PositiveFloat = 0.1
    """How strongly the policy is held to the reference, the policy as it enters the stage: larger stays nearer."""
    batch_size: PositiveInt = 8
    """Packed sequences of pairs per optimiser step."""
    sequence_length: int = Field(default=512, ge=8)
    """Longest pair in tokens, the prompt counted with each of its two answers; a longer one is left out and counted."""
