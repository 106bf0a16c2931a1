"""Two to ten runs side by side: what differs in their frozen specs, their metrics, curves and scores."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from chanote.boards.models import Evaluation
from chanote.runs.chart_plan import KNOWN, describe_key
from chanote.runs.curves import Drawing, draw_curves
from chanote.runs.metrics import read_curve
from chanote.runs.models import MetricSeries, Run
from chanote.runs.table import Row, make_rows

MOST_RUNS = 10
MOST_CHARTS = 8
NOT_CONFIG = frozenset({"run", "attempt", "resume_from", "schema_version", "reproduces"})
"""Keys of the frozen spec that name the run itself."""


@dataclass(frozen=True)
class Cell:
    text: str
    """Empty when the key is not set."""
    differs: bool
    """From the first run."""


@dataclass(frozen=True)
class ConfigLine:
    key: str
    cells: list[Cell]


@dataclass(frozen=True)
class ConfigGroup:
    name: str
    lines: list[ConfigLine]
    different: int
    total: int


@dataclass(frozen=True)
class Measured:
    last: float | None
    lowest: float | None
    highest: float | None
    delta: float | None
    """Of the last value to the first run's."""


@dataclass(frozen=True)
class MetricLine:
    key: str
    title: str
    unit: str
    cells: list[Measured | None]


@dataclass(frozen=True)
class OverlayChart:
    key: str
    title: str
    unit: str
    drawing: Drawing


@dataclass(frozen=True)
class ScoreLine:
    task: str
    cells: list[Evaluation | None]


@dataclass(frozen=True)
class Compared:
    rows: list[tuple[int, Row]]
    """Style number from 1 and the run."""
    config: list[ConfigGroup]
    equal_keys: int
    metrics: list[MetricLine]
    charts: list[OverlayChart]
    scores: list[ScoreLine]
    last_step: int
    sources: str
    """For the script: number, name and address of the curves of each run."""


def compare_runs(runs: Sequence[Run], *, all_keys: bool) -> Compared:
    series: dict[str, dict[Any, MetricSeries]] = defaultdict(dict)
    for one in MetricSeries.objects.filter(run__in=runs):
        series[one.key][one.run_id] = one
    config, equal = compare_configs([run.snapshot for run in runs], all_keys=all_keys)
    order = {key: place for place, key in enumerate(KNOWN)}
    # Held-out losses follow the training loss.
    held_out = order["train/loss"] + 0.5
    keys = sorted(series, key=lambda key: (order.get(key, held_out if key.startswith("held_out/") else 99), key))
    # What was zero throughout in every run, as masked rollouts should be, takes no place among the charts.
    told = [key for key in keys if any(one.lowest != 0 or one.highest != 0 for one in series[key].values())]
    last_step = max((run.total_steps for run in runs), default=0)
    return Compared(
        rows=list(enumerate(make_rows(runs), start=1)),
        config=config,
        equal_keys=equal,
        metrics=[_measure(key, [series[key].get(run.pk) for run in runs]) for key in keys],
        charts=[_overlay(key, runs, series[key], last_step) for key in told[:MOST_CHARTS]],
        scores=_list_scores(runs),
        last_step=last_step,
        sources="\n".join(
            f"{number}\t{run.name}\t{reverse('run_curves', args=[run.project.slug, run.number])}"
            for number, run in enumerate(runs, start=1)
        ),
    )


def flatten(value: Any, path: str = "") -> dict[str, str]:
    """Leaves of nested values by their path: `recipe.stages[0].steps`."""
    parts: dict[str, str] = {}
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            parts |= flatten(inner, f"{path}.{key}" if path else str(key))
        return parts
    if isinstance(value, list) and value:
        for place, inner in enumerate(value):
            parts |= flatten(inner, f"{path}[{place}]")
        return parts
    if value is None:
        return {path: "none"}
    if isinstance(value, bool):
        return {path: "yes" if value else "no"}
    if isinstance(value, (list, Mapping)):
        return {path: "empty"}
    return {path: str(value)}


def compare_configs(snapshots: Sequence[Mapping[str, Any]], *, all_keys: bool) -> tuple[list[ConfigGroup], int]:
    """Keys in groups by their first part, only those that differ unless all are asked for; and how many are equal."""
    flat = [flatten({key: value for key, value in one.items() if key not in NOT_CONFIG}) for one in snapshots]
    keys = list(dict.fromkeys(key for one in flat for key in one))
    grouped: dict[str, list[ConfigLine]] = defaultdict(list)
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for key in keys:
        values = [one.get(key, "") for one in flat]
        different = any(value != values[0] for value in values)
        group = _group_of(key)
        totals[group][0] += different
        totals[group][1] += 1
        if different or all_keys:
            grouped[group].append(ConfigLine(key, [Cell(value, value != values[0]) for value in values]))
    groups = [ConfigGroup(name, lines, *totals[name]) for name, lines in grouped.items()]
    return groups, sum(total - different for different, total in totals.values())


def _group_of(key: str) -> str:
    """`recipe.stages[1]` for the keys of a stage, else the first part."""
    parts = key.split(".")
    return ".".join(parts[:2]) if parts[0] == "recipe" and len(parts) > 2 else parts[0].partition("[")[0]


def _measure(key: str, series: Sequence[MetricSeries | None]) -> MetricLine:
    title, unit = describe_key(key)
    first = series[0].last_value if series[0] else None
    cells: list[Measured | None] = []
    for place, one in enumerate(series):
        if one is None:
            cells.append(None)
            continue
        known = place > 0 and first is not None and one.last_value is not None
        cells.append(
            Measured(one.last_value, one.lowest, one.highest, one.last_value - first if known else None)  # type: ignore[operator]
        )
    return MetricLine(key, title, unit, cells)


def _overlay(key: str, runs: Sequence[Run], series: Mapping[Any, MetricSeries], last_step: int) -> OverlayChart:
    line = _measure(key, [series.get(run.pk) for run in runs])
    curves = [
        (number, run.name, read_curve(series[run.pk], points=120))
        for number, run in enumerate(runs, start=1)
        if run.pk in series
    ]
    return OverlayChart(key, line.title, line.unit, draw_curves(curves, last_step=last_step, marks=[]))


def _list_scores(runs: Sequence[Run]) -> list[ScoreLine]:
    """For every task the last score of each run."""
    places: dict[Any, int] = {run.pk: place for place, run in enumerate(runs)}
    found: dict[str, list[Evaluation | None]] = {}
    evaluations = Evaluation.objects.filter(run__in=runs).select_related("task").prefetch_related("boards")
    for one in evaluations.order_by("task__slug", "task__number", "step", "id"):
        cells = found.setdefault(one.task.reference, [None] * len(runs))
        cells[places[one.run_id]] = one
    return [ScoreLine(task, cells) for task, cells in found.items()]
