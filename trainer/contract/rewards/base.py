"""What rewards share: a name on charts, a weight in the sum, a gate, and what they need before a run can start."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from trainer.contract.base import Contract

TAG = r"^[A-Za-z][A-Za-z0-9_-]*$"


class RewardBase(Contract):
    """One component of the reward. The total is the sum over components of weight times value."""

    name: str = Field(default="", max_length=40, pattern=r"^[a-z0-9_-]*$")
    """Name on charts, for telling two rewards of one kind apart; the kind when empty."""
    weight: float = Field(default=1.0, allow_inf_nan=False)
    """Factor in the sum; 0 measures the component without rewarding it."""
    gate: str = ""
    """Name of an earlier reward whose value multiplies this one's; empty: none. A gate of 0 leaves 0."""

    @property
    def component(self) -> str:
        """The name under which its values are logged."""
        return self.name or str(type(self).model_fields["kind"].default)

    def refers_to(self) -> dict[str, str]:
        """Field → the component it names, for the fields that are set."""
        return {"gate": self.gate} if self.gate else {}

    def row_fields(self) -> tuple[str, ...]:
        """Fields that every row must have for this reward to be possible at all."""
        return ()

    def check_longest(self, longest: int) -> str:
        """Why it cannot work with completions of at most `longest` tokens; empty when it can."""
        return ""

    def unreachable(self) -> str:
        """Why a service that it needs cannot be used, as `field: sentence`; empty when all can. May take seconds."""
        return ""


class AnswerRewardBase(RewardBase):
    """A reward that judges a part of the completion."""

    read: Literal["whole", "after_thinking", "answer_tag"] = "after_thinking"
    """Which part is judged: the whole completion, what follows the last end of thinking (the whole where there is no
    thinking; nothing where thinking never ended), or the content of the last answer tag in that."""
    thinking_tag: str = Field(default="think", pattern=TAG)
    """Name of the tag around the thinking, without its brackets."""
    answer_tag: str = Field(default="answer", pattern=TAG)
    """Name of the tag around the answer, without its brackets."""


class CorrectnessRewardBase(RewardBase):
    """A reward that depends on whether another one found the answer correct."""

    correct: str = Field(min_length=1)
    """Name of the earlier reward that says whether an answer is correct."""
    correct_at: float = Field(default=1.0, allow_inf_nan=False)
    """Smallest value of that reward that counts as correct."""

    def refers_to(self) -> dict[str, str]:
        return {**super().refers_to(), "correct": self.correct}


def check_links(rewards: Sequence[RewardBase]) -> Sequence[RewardBase]:
    """The same rewards; raises ValueError for a name given twice and for one that no earlier reward has."""
    earlier: list[str] = []
    for place, reward in enumerate(rewards):
        if reward.component in earlier:
            raise ValueError(
                f"rewards[{place}].name: {reward.component} is already the name of rewards"
                f"[{earlier.index(reward.component)}]; give one of them another name"
            )
        for field, named in reward.refers_to().items():
            if named not in earlier:
                known = f"use {' or '.join(earlier)}" if earlier else "put the reward it names before it"
                raise ValueError(f"rewards[{place}].{field}: no reward before it is named {named}; {known}")
        earlier.append(reward.component)
    return rewards


def check_longest(rewards: Sequence[RewardBase], longest: int) -> list[str]:
    """One sentence for each reward that cannot work with completions of at most `longest` tokens."""
    found = [(place, reward.check_longest(longest)) for place, reward in enumerate(rewards)]
    return [f"rewards[{place}].{reason}" for place, reason in found if reason]


def check_reachable(rewards: Sequence[RewardBase]) -> list[str]:
    """One sentence for each reward whose service cannot be used. Asks over the network; loads no torch."""
    found = [(place, reward.unreachable()) for place, reward in enumerate(rewards)]
    return [f"rewards[{place}].{reason}" for place, reason in found if reason]
