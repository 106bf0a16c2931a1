"""What a board says of agents beside their score: turns, tool errors, cost, and every reward with its interval."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chanote.boards.models import Evaluation, Sample
from chanote.boards.statistics import estimate_mean
from chanote.boards.statistics.wording import word_number
from trainer.contract.episodes import ScoredEpisode, summarise_episodes

STOPS = {
    "answered": "answered",
    "turn_limit": "turns used up",
    "length": "cut off",
    "tool_error_limit": "too many failed calls",
    "deadline": "time over",
    "service_failed": "tools or model failed",
}


def describe_episodes(found: Sequence[tuple[str, ScoredEpisode]], *, toolset: str) -> dict[str, Any] | None:
    """Of the scored items, as (cluster, episode); None for tasks without tools."""
    summary = summarise_episodes([episode for _, episode in found])
    if summary is None:
        return None
    names = dict.fromkeys(name for _, episode in found for name in episode.rewards)
    return {
        **summary.model_dump(mode="json"),
        "toolset": toolset,
        "rewards": {name: _estimate(name, found) for name in names},
    }


def read_episodes(evaluations: Iterable[int], *, without: Collection[str] = ()) -> dict[int, dict[str, Any] | None]:
    """By evaluation what `describe_episodes` says of its samples, less those of some items."""
    tools = dict(Evaluation.objects.filter(pk__in=evaluations).values_list("pk", "episodes__toolset"))
    found: dict[int, list[tuple[str, ScoredEpisode]]] = {pk: [] for pk in tools}
    samples = Sample.objects.filter(evaluation__in=tools, episode__isnull=False).exclude(status="left_out")
    rows = samples.order_by("id").values_list("evaluation_id", "item", "cluster", "episode")
    for evaluation, item, cluster, episode in rows.iterator():
        if item not in without:
            # What was said stays in the database; here the numbers are enough.
            numbers = {**(episode or {}), "conversation": []}
            found[evaluation].append((cluster, ScoredEpisode.model_validate(numbers)))
    return {pk: describe_episodes(rows, toolset=tools[pk] or "") for pk, rows in found.items()}


def _estimate(name: str, found: Sequence[tuple[str, ScoredEpisode]]) -> dict[str, Any]:
    """Over the items that the reward could value."""
    valued = [
        (value, cluster or place)
        for place, (cluster, episode) in enumerate(found)
        if (value := episode.rewards.get(name)) is not None
    ]
    estimate = estimate_mean([value for value, _ in valued], clusters=[cluster for _, cluster in valued])
    return {
        "mean": estimate.mean,
        "low": estimate.low,
        "high": estimate.high,
        "error": estimate.error,
        "count": estimate.count,
    }


@dataclass(frozen=True)
class AgentCells:
    """What a row of the board's table says of an agent."""

    turns: str
    calls: str
    errors: str
    """Share of calls that failed or could not be made, in per cent; empty without calls."""
    errors_title: str
    tokens: str
    """Of an item, read and written; empty where nobody counted."""
    tokens_title: str
    cost: str
    """Of all items; empty without a price."""
    toolset: str
    stops: str


def lay_out_agent(evaluation: Evaluation) -> AgentCells | None:
    found = evaluation.episodes
    if not found:
        return None
    calls, items = found["calls_in_all"], found["items"]
    wrong = found["tool_errors"] + found["malformed_calls"]
    read, written = found["prompt_tokens"], found["completion_tokens"]
    counted = read is not None and written is not None
    return AgentCells(
        turns=f"{found['turns']:.1f}",
        calls=f"{found['calls']:.1f} calls",
        errors=_word_share(wrong, calls) if calls else "",
        errors_title=f"{found['tool_errors']:,} failed and {found['malformed_calls']:,} malformed of {calls:,} calls",
        tokens=_word_tokens((read + written) / items) if counted else "",
        tokens_title=f"{read / items:,.0f} read, {written / items:,.0f} written an item" if counted else "",
        cost="" if found["cost"] is None else word_cost(found["cost"]),
        toolset=found["toolset"],
        stops=word_stops(found["stops"]),
    )


@dataclass(frozen=True)
class AllEpisodes:
    """What all agents of a table did together."""

    tools: str
    calls: int
    wrong: int
    stops: str


def sum_episodes(evaluations: Sequence[Evaluation]) -> AllEpisodes | None:
    """None where no agent was scored."""
    found = [one.episodes for one in evaluations if one.episodes]
    if not found:
        return None
    stops: Counter[str] = Counter()
    for one in found:
        stops.update(one["stops"])
    return AllEpisodes(
        tools=", ".join(dict.fromkeys(one["toolset"] for one in found if one["toolset"])),
        calls=sum(one["calls_in_all"] for one in found),
        wrong=sum(one["tool_errors"] + one["malformed_calls"] for one in found),
        stops=word_stops(dict(stops.most_common())),
    )


def word_stops(stops: Mapping[str, int]) -> str:
    return ", ".join(f"{STOPS.get(reason, reason)} {count:,}" for reason, count in stops.items())


@dataclass(frozen=True)
class RewardCell:
    value: str
    interval: str
    items: str
    """Told where the reward could not value all items."""


def lay_out_rewards(evaluations: Sequence[Evaluation]) -> tuple[list[str], dict[int, list[RewardCell | None]]]:
    """Names of all rewards, and for each evaluation a cell for each name."""
    told = {one.pk: one.episodes["rewards"] for one in evaluations if one.episodes}
    names = list(dict.fromkeys(name for rewards in told.values() for name in rewards))
    cells = {
        one.pk: [_lay_out_reward(told.get(one.pk, {}).get(name), one.count) for name in names] for one in evaluations
    }
    return names, cells


def _lay_out_reward(found: Mapping[str, Any] | None, items: int) -> RewardCell | None:
    if found is None or found["mean"] is None:
        return None
    value, low, high = (
        None if found[name] is None else word_number(found[name], found["error"] or None, scale=100)
        for name in ("mean", "low", "high")
    )
    assert value is not None
    interval = (
        "" if low is None or high is None else f"{low}\u2013{high}" if "\u2212" not in low else f"{low} to {high}"
    )
    return RewardCell(value, interval, "" if found["count"] == items else f"{found['count']:,} items")


def _word_share(part: int, whole: int) -> str:
    """Never rounded to none or all when it is not."""
    share = 100 * part / whole
    return f"{share:.0f}" if part in (0, whole) or 0.5 <= share <= 99.5 else f"{share:.1f}"


def _word_tokens(count: float) -> str:
    return f"{count:,.0f}" if count < 10_000 else f"{count / 1000:,.0f}k"


def word_cost(cost: float) -> str:
    return f"{cost:,.2f}" if cost >= 1 else f"{cost:.2g}"
