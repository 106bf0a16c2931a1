"""What a reward is: a rule that values answers, and can say that it could not."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from trainer.contract.rewards.base import CorrectnessRewardBase, RewardBase
from trainer.failures import StopNow

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ToolUse:
    """One call of an episode, as rewards may look at it. What the tool said is not for them: it is not the policy's."""

    tool: str
    status: str
    """A status of the tool service; `rejected` where the policy wrote a call that could not be made."""
    sections: tuple[tuple[str, str], ...] = ()
    """Sections of law that it showed, as (law, section)."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One completion of one prompt, with what rewards may look at."""

    row: Row
    """The row that the prompt came from."""
    text: str
    """What the policy wrote, decoded without special tokens; no text of tools or of the prompt."""
    tokens: int
    """Length of the completion in sampled tokens."""
    longest: int
    """Tokens after which sampling would have been cut off."""
    truncated: bool
    """It was cut off there, or by the context, instead of ending by itself."""
    prompt_text: str = ""
    """The prompt as the policy saw it, template and all."""
    group: int | None = None
    """Answers to the same prompt share it. Rewards that compare answers need it."""
    calls: Sequence[ToolUse] = ()
    """Of an episode with tools, in their order."""
    components: Mapping[str, float] = field(default_factory=dict)
    """Values of the rewards before this one in the list; `score_all` fills it."""


@dataclass(frozen=True)
class Score:
    """The value of an answer, or why there is none. A fault is never a zero: the rollout is masked."""

    value: float | None
    fault: str = ""
    """A short sentence; empty when there is a value."""
    words: str = ""
    """What the reward says about it, such as a judge's reply; for people to read."""


class Fault(Exception):
    """Raised inside a reward: this answer could not be valued. The message is a short sentence."""


class Reward(ABC):
    """One instance per entry of a stage's `rewards`."""

    config_class: ClassVar[type[RewardBase]]
    costly: ClassVar[bool] = False
    """Answers whose gate is 0 are not given to it at all."""
    leave_if_asked: Callable[[], None] = staticmethod(lambda: None)
    """Raises StopNow when a stop was asked for; a reward that waits calls it while it waits."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @property
    @abstractmethod
    def range(self) -> tuple[float, float]:
        """Smallest and greatest value, before the weight; infinite where nothing bounds it."""

    @abstractmethod
    def score(self, answers: Sequence[Answer]) -> list[Score]:
        """One score per answer, in order. All answers of a group come in one call."""

    def missing(self, row: Row) -> str:
        """What this row lacks for the reward to be possible, naming the row's field; empty when nothing."""
        for name in self.config.row_fields():
            if row.get(name) in (None, "", [], {}):
                return f"no `{name}`"
        return ""

    def notes(self) -> dict[str, str | int | float | bool]:
        """Facts to freeze with the stage, beyond the recipe."""
        return {}


class SingleReward(Reward):
    """A reward that values each answer by itself. What goes wrong with one answer is that answer's fault alone."""

    @abstractmethod
    def value(self, answer: Answer) -> float:
        """The answer's value; raises Fault."""

    def score(self, answers: Sequence[Answer]) -> list[Score]:
        return [self._score(answer) for answer in answers]

    def _score(self, answer: Answer) -> Score:
        try:
            return Score(self.value(answer))
        except StopNow:
            raise
        except Exception as error:
            return Score(None, describe(error))


def describe(error: Exception) -> str:
    """A fault's sentence: its own words, or the kind of error where a reward broke by itself."""
    return str(error) if isinstance(error, Fault) else f"The reward broke: {type(error).__name__}: {error}"[:300]


def is_correct(answer: Answer, config: CorrectnessRewardBase) -> bool:
    """Whether the reward that `correct` names found the answer correct; raises Fault when it found nothing."""
    if config.correct not in answer.components:
        raise Fault(f"The reward {config.correct} failed, so nobody knows whether the answer is correct.")
    return answer.components[config.correct] >= config.correct_at
