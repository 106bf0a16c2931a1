"""What the command line says of scored tasks: a line for each, and more lines for agents."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.contract import TaskSpec
from trainer.contract.episodes import summarise_episodes
from trainer.contract.events import ScoredSample
from trainer.evaluation.evaluate import counted_samples, mean_score
from trainer.evaluation.interval import interval_of, mean_interval
from trainer.evaluation.metrics import metrics
from trainer.evaluation.metrics.base import Further


def summarise(task: TaskSpec, samples: list[ScoredSample], path: Path) -> dict[str, Any]:
    """What the table shows for one task."""
    mean = mean_score(task, samples)
    interval = mean_interval(task, samples)
    left_out = [sample for sample in samples if sample.status == "left_out"]
    result = {
        "task": task.task,
        "metric": task.metric,
        "higher_is_better": task.higher_is_better,
        "mean": mean if mean == mean else None,
        "interval": None if interval is None else list(interval),
        "n": len(samples) - len(left_out),
        "failed": sum(sample.status not in ("ok", "left_out") for sample in samples),
        "samples": path.as_posix(),
    }
    if task.uses_tools:
        return result | _summarise_agent(task, samples, left_out)
    return result | _summarise_answers(task, samples, left_out)


def _summarise_answers(
    task: TaskSpec, samples: Sequence[ScoredSample], left_out: Sequence[ScoredSample]
) -> dict[str, Any]:
    """What the metric tells beside its score, and why items are left out."""
    metric = metrics()[task.metric]
    metric.configure(task)
    told: dict[str, Any] = {}
    if left_out:
        told["left_out"] = len(left_out)
        told["left_out_reasons"] = sorted({str(one.detail.get("reason", "")) for one in left_out})
    if further := metric.further(samples):
        told["further"] = {one.name: _summarise_further(one) for one in further}
    return told


def _summarise_further(one: Further) -> dict[str, Any]:
    if one.share is not None or not one.values:
        return {"mean": one.share, "interval": None, "n": len(one.values)}
    interval = interval_of(one.values, one.clusters)
    return {
        "mean": math.fsum(one.values) / len(one.values),
        "interval": None if interval is None else list(interval),
        "n": len(one.values),
    }


def _summarise_agent(
    task: TaskSpec, samples: Sequence[ScoredSample], left_out: Sequence[ScoredSample]
) -> dict[str, Any]:
    assert task.agent is not None
    summary = summarise_episodes([one.episode for one in counted_samples(task, samples) if one.episode is not None])
    return {
        "left_out": len(left_out),
        "left_out_reasons": sorted({str(one.detail.get("reason", "")) for one in left_out}),
        "rewards": {
            reward.component: _summarise_reward(reward.component, counted_samples(task, samples))
            for reward in task.agent.rewards
        },
        "episodes": summary.model_dump(mode="json") if summary else None,
    }


def _summarise_reward(name: str, samples: Sequence[ScoredSample]) -> dict[str, Any]:
    """Over the items that the reward could value: those without right citations, say, have no citation score."""
    valued = [
        (value, sample.cluster)
        for sample in samples
        if sample.episode is not None and (value := sample.episode.rewards.get(name)) is not None
    ]
    if not valued:
        return {"mean": None, "interval": None, "n": 0}
    scores, clusters = zip(*valued, strict=True)
    interval = interval_of(scores, clusters)
    return {
        "mean": math.fsum(scores) / len(scores),
        "interval": None if interval is None else list(interval),
        "n": len(scores),
    }


def write_table(results: Sequence[dict[str, Any]]) -> str:
    rows = [("task", "metric", "mean", "95 % interval", "n", "failed")]
    for result in results:
        rows.append((result["task"], result["metric"], *_numbers(result), str(result["failed"])))
        for name, reward in (result.get("rewards", {}) | result.get("further", {})).items():
            if name != result["metric"]:
                rows.append(("", name, *_numbers(reward), ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, *(line for result in results for line in _describe_agent(result))])


def _numbers(result: dict[str, Any]) -> tuple[str, str, str]:
    interval = result["interval"]
    return (
        "none" if result["mean"] is None else f"{result['mean']:.3f}",
        "none" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}",
        str(result["n"]),
    )


def _describe_agent(result: dict[str, Any]) -> list[str]:
    lines = []
    if found := result.get("episodes"):
        parts = [
            f"{found['turns']:.1f} turns and {found['calls']:.1f} calls an item",
            f"of {found['calls_in_all']} calls {found['tool_errors']} failed, {found['malformed_calls']} malformed",
        ]
        if found["prompt_tokens"] is not None and found["completion_tokens"] is not None:
            parts.append(f"{found['prompt_tokens']:,} tokens read, {found['completion_tokens']:,} written")
        if found["cost"] is not None:
            parts.append(f"cost {found['cost']:.4f}")
        stops = ", ".join(f"{reason} {count}" for reason, count in found["stops"].items())
        lines.append(f"{result['task']}: {'; '.join(parts)}; ended: {stops}")
    if result.get("left_out"):
        reasons = " ".join(result["left_out_reasons"][:3])
        lines.append(
            f"{result['task']}: {result['left_out']} items are left out of the score, through no fault of the model: "
            f"{reasons}"
        )
    return lines
