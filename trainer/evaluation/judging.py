"""What episodes of agents are worth: the rewards of training, each a metric, one of them the task's.

An episode whose tools or whose judge failed is left out: nobody knows what the agent would have answered, or whether it
was right. What an agent does within its limits is its own doing, and counts: turns that are used up, calls that fail.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.contract import TaskSpec
from trainer.contract.episodes import EpisodeCall, EpisodeTurn, ScoredEpisode
from trainer.contract.events import ScoredSample
from trainer.contract.rewards import check_reachable
from trainer.contract.toolsets import ToolLimits
from trainer.evaluation.errors import TaskError
from trainer.evaluation.tasks import Item
from trainer.rewards import Answer, Reward, Scored, check_rows, make_rewards, score_all
from trainer.rewards.base import ToolUse
from trainer.rollouts.episode import cut_output
from trainer.rollouts.rollout import CUT_OFF, Ending, MadeCall

CUT = frozenset({Ending.LENGTH, Ending.DEADLINE})
"""Endings after which more room or more time might still have brought an answer."""


@dataclass(frozen=True, kw_only=True)
class Played:
    """One item as an agent played it, whoever sampled its turns."""

    item: Item
    answer: str
    """What the last turn says; empty for an episode that ended otherwise than by answering."""
    ending: Ending
    reason: str
    """More on why it ended, where there is more to say."""
    turns: Sequence[str]
    """Text of each turn, as it was written."""
    calls: Sequence[MadeCall]
    tokens: int
    """That the model wrote."""
    seconds: float
    prompt_text: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None


def open_rewards(task: TaskSpec) -> list[Reward]:
    """Raises TaskError for a metric whose values are no shares, which no board could show beside others."""
    assert task.agent is not None
    rewards = make_rewards(task.agent.rewards)
    main = next(reward for reward in rewards if reward.config.component == task.metric)
    low, high = main.range
    if low < 0 or high > 1:
        raise TaskError(
            f"{task.task}: values of {task.metric} lie between {low:g} and {high:g}, and a score is a share from 0 to "
            "1; name another reward as metric"
        )
    return rewards


def check_items(task: TaskSpec, rewards: Sequence[Reward], items: Sequence[Item]) -> None:
    """Raises TaskError where the metric has nothing to compare with, or another reward has so nowhere, and where a
    service that a reward needs cannot be used.

    Rewards beside the metric need not fit every row: citations only fit questions that have an answer.
    """
    assert task.agent is not None
    rows = [item.row for item in items]
    needed = [
        reward
        for reward in rewards
        if reward.config.component == task.metric or all(reward.missing(row) for row in rows)
    ]
    problems = check_rows(needed, rows, path="agent.rewards", dataset=task.dataset)
    problems = problems or [f"agent.{reason}" for reason in check_reachable(task.agent.rewards)]
    if problems:
        raise TaskError(f"{task.task}: {' '.join(problems)}")


def judge(
    task: TaskSpec, rewards: Sequence[Reward], played: Sequence[Played], *, limits: ToolLimits
) -> list[ScoredSample]:
    """One sample for each, in their order."""
    sound = [one for one in played if one.ending is not Ending.SERVICE_FAILED]
    found = iter(score_all(rewards, [_answer(task, one) for one in sound]) if sound else ())
    return [_sample(task, one, None if one.ending is Ending.SERVICE_FAILED else next(found), limits) for one in played]


def _answer(task: TaskSpec, one: Played) -> Answer:
    return Answer(
        row=one.item.row,
        text=one.answer,
        tokens=one.tokens,
        longest=task.generation_kwargs.max_gen_toks,
        truncated=one.ending in CUT_OFF,
        prompt_text=one.prompt_text or one.item.prompt,
        calls=[ToolUse(call.call.name, call.result.status, call.result.sections) for call in one.calls],
    )


def _sample(task: TaskSpec, one: Played, scored: Scored | None, limits: ToolLimits) -> ScoredSample:
    score = scored.components[task.metric] if scored else None
    reason = one.reason
    if scored and score is None:
        reason = scored.faults[task.metric]
    return ScoredSample(
        item=one.item.id,
        cluster=one.item.cluster,
        prompt=one.item.prompt,
        output=one.answer,
        target=one.item.target,
        score=score,
        status="left_out" if score is None else "truncated" if one.ending in CUT else "ok",
        tokens=one.tokens,
        detail={"reason": reason} if reason else {},
        episode=_describe(one, scored, limits),
    )


def _describe(one: Played, scored: Scored | None, limits: ToolLimits) -> ScoredEpisode:
    made = [call for call in one.calls if call.result.tries]
    return ScoredEpisode(
        conversation=[
            EpisodeTurn(text=text, calls=[_call(call, limits) for call in one.calls if call.turn == number])
            for number, text in enumerate(one.turns, start=1)
        ],
        stop_reason=one.ending.value,
        turns=len(one.turns),
        calls=len(one.calls),
        tool_errors=sum(call.result.status != "ok" for call in made),
        malformed_calls=len(one.calls) - len(made),
        prompt_tokens=one.prompt_tokens,
        completion_tokens=one.completion_tokens,
        cost=one.cost,
        seconds=round(one.seconds, 3),
        rewards=scored.components if scored else {},
        faults=scored.faults if scored else {},
    )


def _call(made: MadeCall, limits: ToolLimits) -> EpisodeCall:
    arguments = made.call.arguments
    return EpisodeCall.model_validate(
        {
            "tool": made.call.name or "none",
            "arguments": json.dumps(arguments, ensure_ascii=False) if arguments else made.call.written,
            "status": made.result.status,
            "wall_ms": made.result.wall_ms,
            "output": cut_output(made.result.text, limits),
        }
    )
