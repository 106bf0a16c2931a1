"""What every output type does: answer items with a model and have a metric judge the answers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample
from trainer.contract.toolsets import ToolsetSpec
from trainer.evaluation.errors import TaskError
from trainer.evaluation.metrics import Metric, metrics
from trainer.evaluation.tasks import Item


class OutputType(ABC):
    """How a model is asked. Made once per task and model, then fed with items a few at a time."""

    name: ClassVar[str]
    metric_class: ClassVar[type[Metric]]

    def __init__(
        self, task: TaskSpec, *, model: Any, tokenizer: Any, toolset: ToolsetSpec | None = None, name: str = ""
    ) -> None:
        """`name`: what a tool service knows the evaluation by; empty: it is given one."""
        self.task = task
        self.model = model
        self.tokenizer = tokenizer
        self.open(toolset, name)

    def open(self, toolset: ToolsetSpec | None, name: str) -> None:
        """Find what judges the answers, and whatever else answering takes; raises TaskError."""
        task = self.task
        metric = metrics().get(task.metric)
        if not isinstance(metric, self.metric_class):
            fitting = [name for name, known in metrics().items() if isinstance(known, self.metric_class)]
            raise TaskError(
                f"{task.task}: metric {task.metric} does not fit output_type {self.name}; use {' or '.join(fitting)}"
            )
        metric.configure(task)
        self.metric: Any = metric

    def check(self, items: Sequence[Item]) -> None:  # noqa: B027  most output types have nothing to refuse
        """Raise TaskError for an item that no model could answer."""

    @abstractmethod
    def answer(self, items: Sequence[Item], *, should_stop: Callable[[], bool]) -> list[ScoredSample]:
        """One sample per item, in order; raises EvaluationInterrupted when asked to stop."""
