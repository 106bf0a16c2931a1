"""What a metric judges. Each kind belongs to one output type."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True)
class Judgement:
    score: float | None
    status: Literal["ok", "unparsable"] = "ok"


class Metric(ABC):
    """A rule that turns what a model did on one item into a score."""

    name: ClassVar[str]


class ChoiceMetric(Metric):
    """Picks an option of a multiple-choice item."""

    @abstractmethod
    def choose(self, loglikelihoods: Sequence[float], choices: Sequence[str]) -> int:
        """Position of the picked option; of equal ones the first."""


class AnswerMetric(Metric):
    """Compares a written answer with the reference answer."""

    @abstractmethod
    def judge(self, output: str, target: str) -> Judgement: ...

    def check_target(self, target: str) -> str:
        """Why no answer could ever match this target; empty when one can."""
        return ""


class TextMetric(Metric):
    """Measures how well a text was predicted."""

    @abstractmethod
    def measure(self, loglikelihood: float, text: str) -> float:
        """Score from the log-likelihood (nats) of the whole text."""
