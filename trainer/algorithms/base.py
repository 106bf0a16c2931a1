"""What an algorithm is: where the batches of an optimiser step come from, and what loss they have.

The loop (`trainer.loop.train`) never asks which algorithm it runs. It calls, in this order:

    look_ahead    once before the whole run, of a later stage: find what it would stop at
    make_policy   once, in a recipe's first stage: a policy made from nothing, or None
    prepare       once: check or complete the policy that enters
    open          once: read the sources, load what else is needed
    restore       once, when the stage continues from a checkpoint
    collect       once per round: the batches of the next optimiser step, or of the next few
    loss          once per micro-batch
    after_update  once per optimiser step
    measure       now and then: held-out figures
    state         once per round: what a checkpoint must hold
    close         once, however the stage ends

Two families bring most of this ready-made: `DocumentAlgorithm` (trainer.algorithms.documents) trains on rows of
datasets and asks for `render` and `loss`; `RolloutAlgorithm` (trainer.algorithms.rollouts) trains on what the policy
samples and asks for `learn_from` and `loss`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from trainer.contract.stages.base import TrainingStage

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from trainer.contract.spec import RunSpec
    from trainer.data.rows import RowFile
    from trainer.events_log import EventLog
    from trainer.policy import Policy
    from trainer.ranks import Ranks
    from trainer.stopping import StopRequest
    from trainer.swap import Placement

Progress = Callable[[str, int, int], None]
"""(phase, done, total): tells the events, and leaves by StopNow when a stop was asked for."""

Note = str | int | float | bool


class Batch(Protocol):
    """A micro-batch. An algorithm may have its own kind, or several kinds in one step."""

    @property
    def targets(self) -> int:
        """Positions that the loss counts; a batch without any is passed over."""

    def __len__(self) -> int:
        """Tokens that go through the policy."""


@dataclass(frozen=True)
class Update:
    """What one optimiser step trains on."""

    micro_batches: Sequence[Batch]
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What collecting them measured; logged with the step."""


@dataclass(frozen=True)
class LossTerms:
    """Named parts of a micro-batch's loss. Their sum is what is differentiated."""

    terms: "dict[str, Tensor]"
    """By metric key; a name without a slash is logged as `train/<name>` when there are several."""
    counted: int | None = None
    """Targets that the terms really count, where only the forward pass shows which: the step's gradient, formed as if
    all counted, is then scaled up to their number over all micro-batches. None: every target counts."""
    reported: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Metric → (sum, count) of this micro-batch; the step logs Σ sum / Σ count."""
    largest: Mapping[str, float] = field(default_factory=dict)
    """Metric → greatest value in this micro-batch; the step logs the greatest of all."""

    @property
    def total(self) -> "Tensor":
        first, *rest = self.terms.values()
        return sum(rest, first)


def add_reported(into: dict[str, tuple[float, float]], reported: Mapping[str, tuple[float, float]]) -> None:
    """Add the sums and counts of a further micro-batch."""
    for key, (total, count) in reported.items():
        before = into.get(key, (0.0, 0.0))
        into[key] = (before[0] + total, before[1] + count)


@dataclass(frozen=True)
class StageContext:
    """Where a stage takes place."""

    spec: "RunSpec"
    number: int
    """The stage's place in the recipe, from 0."""
    policy: "Policy"
    rows: "Mapping[str, RowFile]"
    """Every dataset of the run by its name."""
    out: Path
    """The attempt directory."""
    events: "EventLog"
    stop: "StopRequest"
    ranks: "Ranks"
    progress: Progress
    first_step: int
    """Optimiser steps of the whole run before the stage's first one."""
    placement: "Placement"
    """Where weights are in which phase; whoever begins a phase says so."""

    @property
    def seed(self) -> int:
        return self.spec.recipe.seed

    @property
    def device(self) -> "torch.device":
        return self.policy.device


class Algorithm(ABC):
    """One instance per stage."""

    stage_class: ClassVar[type[TrainingStage]]
    """The stage it runs; a class without it is a family, not an algorithm."""
    stage: Any
    context: StageContext
    """Set before `open`."""

    def __init__(self, stage: Any) -> None:
        self.stage = stage

    @property
    def micro_batches(self) -> int:
        """Into how many an optimiser step is cut at least: each rank computes `gradient_accumulation` of them."""
        count: int = self.stage.gradient_accumulation * self.context.ranks.count
        return count

    def share(self, items: int) -> int:
        """Items of an optimiser step in one micro-batch, when there are so many in all."""
        return max(1, items // self.micro_batches)

    def look_ahead(self, tokenizer: Any, rows: "Mapping[str, RowFile]", *, number: int) -> None:  # noqa: B027
        """Raise InvalidSpec for sources that the stage, `number` of the recipe, will not be able to use, before the
        stages in front of it take their time. `tokenizer` is a copy of the policy's.
        """

    def make_policy(
        self, sources: "Sequence[RowFile]", *, seed: int, device: "torch.device", progress: Progress
    ) -> "Policy | None":
        """A policy that this stage creates itself; None when it takes the one that enters."""
        return None

    def prepare(self, policy: "Policy") -> None:  # noqa: B027 - most algorithms need no preparation
        """Check or complete the policy before the first row is read; raises InvalidSpec."""

    @abstractmethod
    def open(self) -> None:
        """Read the sources; raises InvalidSpec with the field's name for what cannot be trained on."""

    @abstractmethod
    def count_steps(self) -> int:
        """Optimiser steps of the whole stage."""

    @abstractmethod
    def collect(self, step: int) -> Sequence[Update]:
        """What the next optimiser steps train on; the first of them is the stage's number `step`, from 1."""

    @abstractmethod
    def loss(self, batch: Any, policy: "Policy", *, targets: int) -> LossTerms:
        """Share of the optimiser step's loss that this micro-batch has; `targets` counts those of the whole step.

        Shares must add up to the same whatever the micro-batches: divide by what the whole step holds, never by what
        the micro-batch holds.
        """

    def after_update(self) -> None:  # noqa: B027 - most algorithms keep nothing that depends on weights
        """The weights have changed."""

    def close(self) -> None:  # noqa: B027 - most algorithms hold nothing but memory
        """The stage ends, well or not."""

    def measure(self) -> dict[str, float]:
        """Held-out figures by metric key."""
        return {}

    def state(self) -> dict[str, Any]:
        """What must be in a checkpoint for `collect` to go on exactly; JSON. Taken between two rounds."""
        return {}

    def tensors(self) -> "dict[str, Tensor]":
        """The same for tensors, such as frozen weights; names must not be those of the policy's parameters."""
        return {}

    def restore(self, state: dict[str, Any], tensors: "dict[str, Tensor]") -> None:  # noqa: B027
        """Inverse of `state` and `tensors`."""

    def source_notes(self) -> dict[str, Note]:
        """Facts about the sources to freeze with the stage; a family gives them."""
        return {}

    def notes(self) -> dict[str, Note]:
        """Facts to freeze with the stage."""
        return {}
