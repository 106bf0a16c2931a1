"""What rollouts are worth, and what a round of them looks like in figures."""

import statistics
from collections import Counter
from collections.abc import Sequence

from trainer.rewards import Answer, Reward, score_all
from trainer.rewards.base import ToolUse
from trainer.rollouts.rollout import NOT_MADE, Ending, Rollout, groups_of


def score_rollouts(rollouts: Sequence[Rollout], rewards: Sequence[Reward], *, longest: int) -> None:
    """Set reward and components; a rollout of which a component failed is masked, not worth nothing."""
    answers = [
        Answer(
            row=rollout.prompt.row,
            text=rollout.text,
            tokens=rollout.sampled,
            longest=longest,
            truncated=rollout.truncated,
            prompt_text=rollout.prompt.text,
            group=rollout.group,
            calls=[ToolUse(one.call.name, one.result.status, one.result.sections) for one in rollout.calls],
        )
        for rollout in rollouts
    ]
    for rollout, scored in zip(rollouts, score_all(rewards, answers), strict=True):
        rollout.reward, rollout.components, rollout.words = scored.total, scored.components, scored.words
        if scored.faults:
            rollout.masked = " ".join(f"Reward {name} failed: {fault}" for name, fault in scored.faults.items())


def describe_rollouts(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Metrics over everything that was sampled for a step."""
    count = len(rollouts)
    lengths = [rollout.sampled for rollout in rollouts]
    metrics = {
        "rollout/length": sum(lengths) / count,
        "rollout/truncated_share": sum(rollout.truncated for rollout in rollouts) / count,
        "rollout/masked": float(sum(bool(rollout.masked) for rollout in rollouts)),
    }
    rewards = [rollout.reward for rollout in rollouts if rollout.reward is not None]
    if rewards:
        metrics["rollout/reward"] = sum(rewards) / len(rewards)
        metrics["rollout/reward_std"] = _mean_group_std(rollouts)
    valued = [rollout for rollout in rollouts if rollout.components]
    for name in valued[0].components if valued else ():
        values = [value for rollout in valued if (value := rollout.components[name]) is not None]
        if values:
            metrics[f"rollout/reward/{name}"] = sum(values) / len(values)
        metrics[f"rollout/faults/{name}"] = float(len(valued) - len(values))
    return metrics | _describe_episodes(rollouts)


def _describe_episodes(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Of rollouts with tools: how often they were used, how that went, and how episodes ended."""
    count = len(rollouts)
    if not any(isinstance(rollout.stop_reason, Ending) for rollout in rollouts):
        return {}
    made = [one for rollout in rollouts for one in rollout.calls]
    endings = Counter(rollout.stop_reason.value for rollout in rollouts)
    metrics = {
        "rollout/turns": sum(len(rollout.turns) for rollout in rollouts) / count,
        "rollout/calls": len(made) / count,
        "rollout/failed_calls": sum(one.result.status == NOT_MADE for one in made) / count,
        "rollout/tool_tokens": sum(len(rollout.token_ids) - rollout.sampled for rollout in rollouts) / count,
        **{f"rollout/ended/{ending.value}": endings[ending.value] / count for ending in Ending},
    }
    asked = [one.result.wall_ms for one in made if one.result.tries]
    if asked:
        metrics |= {"rollout/tool_ms": sum(asked) / len(asked), "rollout/tool_ms_max": max(asked)}
    return metrics


def _mean_group_std(rollouts: Sequence[Rollout]) -> float:
    """Mean over groups of the standard deviation within (over G − 1): 0 when no group could teach anything."""
    groups = ([one.reward for one in group if one.reward is not None] for group in groups_of(rollouts))
    spreads = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in groups]
    return sum(spreads) / len(spreads)
