"""What a metric judges. Each kind belongs to one output type."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample

if TYPE_CHECKING:
    from trainer.evaluation.tasks import Item


@dataclass(frozen=True)
class Judgement:
    score: float | None
    status: Literal["ok", "unparsable", "error", "left_out"] = "ok"
    detail: dict[str, float | int | str | list[float]] = field(default_factory=dict)
    """What else was measured."""
    part: str = ""
    """Which part of the answer is judged, where a metric judges several; each is a sample of its own."""


@dataclass(frozen=True)
class Further:
    """A number over all samples that is told beside the score."""

    name: str
    values: Sequence[float]
    clusters: Sequence[str]
    """One for each value."""
    share: float | None = None
    """The number itself where it is no mean of the values, such as a ratio of sums; it has no interval."""


class Metric(ABC):
    """A rule that turns what a model did on one item into a score."""

    name: ClassVar[str]

    def configure(self, task: TaskSpec) -> None:  # noqa: B027  most metrics have no options
        """Take the task's options; raises TaskError where they cannot be met."""

    def further(self, samples: Sequence[ScoredSample]) -> list[Further]:
        """Numbers beside the score."""
        return []


class ChoiceMetric(Metric):
    """Picks an option of a multiple-choice item."""

    @abstractmethod
    def choose(self, loglikelihoods: Sequence[float], choices: Sequence[str]) -> int:
        """Position of the picked option; of equal ones the first."""


class AnswerMetric(Metric):
    """Compares a written answer with the reference answer."""

    @abstractmethod
    def judge(self, output: str, target: str) -> Judgement: ...

    def judge_item(self, output: str, item: "Item") -> list[Judgement]:
        """One judgement, or one for each part of the answer."""
        return [self.judge(output, item.target)]

    def check_item(self, item: "Item") -> str:
        """Why no answer to this item can be judged, after the words "item 7: "; empty when it can."""
        reason = self.check_target(item.target)
        return f"the target {item.target[:60]!r} {reason}" if reason else ""

    def check_target(self, target: str) -> str:
        """Why no answer could ever match this target; empty when one can."""
        return ""


class TextMetric(Metric):
    """Measures how well a text was predicted."""

    @abstractmethod
    def measure(self, loglikelihood: float, text: str) -> float:
        """Score from the log-likelihood (nats) of the whole text."""


class JudgeMetric(Metric):
    """What models say of an answer; `panel` asks them."""


class RowMetric(AnswerMetric):
    """Judges an answer by what the item's row holds."""

    def judge(self, output: str, target: str) -> Judgement:
        raise TypeError(f"{self.name} judges items, not targets")

    @abstractmethod
    def judge_item(self, output: str, item: "Item") -> list[Judgement]: ...

    @abstractmethod
    def check_item(self, item: "Item") -> str: ...
