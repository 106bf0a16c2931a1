"""Rewards and answers for tests of rewards."""

from typing import Any

from pydantic import TypeAdapter

from trainer.contract.rewards import RewardList
from trainer.rewards import Answer, Reward, Scored, make_rewards, score_all

ADAPTER = TypeAdapter(RewardList)


def rewards(*configs: dict[str, Any]) -> list[Reward]:
    """Rewards as a stage's recipe lists them."""
    return make_rewards(ADAPTER.validate_python(list(configs)))


def answer(text: str = "7", *, reference: Any = "7", tokens: int = 10, **values: Any) -> Answer:
    """An answer of a policy that may sample 100 tokens."""
    fields = {"row": {"answer": reference}, "longest": 100, "truncated": False, **values}
    return Answer(text=text, tokens=tokens, **fields)


def score(config: dict[str, Any], *answers: Answer) -> list[Scored]:
    """Scores by one reward."""
    return score_all(rewards(config), answers)


def value(config: dict[str, Any], one: Answer) -> float:
    """What one reward makes of one answer; fails where it makes nothing of it."""
    [scored] = score(config, one)
    [found] = scored.components.values()
    assert found is not None, scored.faults
    return found


def fault(config: dict[str, Any], one: Answer) -> str:
    """Why one reward made nothing of one answer."""
    [scored] = score(config, one)
    assert scored.total is None
    [sentence] = scored.faults.values()
    return sentence
