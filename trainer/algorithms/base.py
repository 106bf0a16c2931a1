"""What an algorithm is: how rows become documents, and what loss they have."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from trainer.contract.stages.base import TrainingStage
from trainer.data.documents import Document
from trainer.data.rows import Row, RowFile

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from trainer.data.batch import TokenBatch
    from trainer.policy import Policy

Progress = Callable[[str, int, int], None]
"""(phase, done, total): tells the events, and leaves by StopNow when a stop was asked for."""


@dataclass(frozen=True)
class LossTerms:
    """Named parts of a micro-batch's loss. Their sum is what is differentiated."""

    terms: "dict[str, Tensor]"
    counted: int | None = None
    """Targets that the terms really count, where only the forward pass shows which: the step's gradient, formed as if
    all counted, is then scaled up to their number over all micro-batches. None: every target counts."""

    @property
    def total(self) -> "Tensor":
        first, *rest = self.terms.values()
        return sum(rest, first)


class Algorithm(ABC):
    """One instance per stage. The loop never asks which algorithm it runs."""

    stage_class: ClassVar[type[TrainingStage]]

    def __init__(self, stage: Any) -> None:
        self.stage = stage

    def make_policy(
        self, sources: Sequence[RowFile], *, seed: int, device: "torch.device", progress: Progress
    ) -> "Policy | None":
        """A policy that this stage creates itself; None when it takes the one that enters."""
        return None

    def prepare(self, policy: "Policy") -> None:  # noqa: B027 - most algorithms need no preparation
        """Check or complete the policy before the first row is rendered; raises InvalidSpec."""

    @abstractmethod
    def render(self, row: Row, policy: "Policy") -> list[Document]:
        """Documents of one row; no document ever sees another."""

    @abstractmethod
    def loss(self, batch: "TokenBatch", policy: "Policy", *, targets: int) -> LossTerms:
        """Share of the optimiser step's loss that this micro-batch has; `targets` counts those of the whole step."""

    def notes(self) -> dict[str, str | int | float | bool]:
        """Facts to freeze with the stage."""
        return {}
