"""What changed in runs since a moment: the few queries behind live pages, the same for one watcher or a thousand."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
from django.contrib.humanize.templatetags.humanize import intcomma
from django.db.models import Max, Q

from chanote.runs.models import ACTIVE, Attempt, MetricChunk, MetricSeries, Run, RunEvent
from chanote.runs.pages import Figures, Mark, list_marks, read_figures, word_phase
from chanote.web.templatetags.chanote import span

MOST_POINTS = 2000
"""New points of one run in one message; beyond it the page is told to fetch the curves again."""
MOST_EVENTS = 200
RUNS_PER_QUERY = 400
"""SQLite refuses expressions nested deeper than 1,000."""
QUIET = frozenset({"phase_progressed", "rollouts_stored", "energy_used"})
"""Events that change a number on the page but no list."""


@dataclass
class Seen:
    """Up to where a run was read."""

    event: int = 0
    points: dict[int, int] = field(default_factory=dict)
    """Number of points by series."""
    last_steps: dict[int, int] = field(default_factory=dict)
    """Step of the latest point by series."""
    state: Mapping[str, Any] = field(default_factory=dict)

    @property
    def version(self) -> tuple[int, int]:
        return self.event, sum(self.points.values())


@dataclass
class Change:
    """News of one run, as it goes to the browser."""

    state: Mapping[str, Any] | None = None
    points: dict[str, list[list[float | None]]] = field(default_factory=dict)
    """By key: steps and values."""
    marks: list[Mark] = field(default_factory=list)
    phase: str | None = None
    """What a stage does between its steps; empty once that is done."""
    rollouts: int = 0
    """The latest step whose rollouts were stored meanwhile."""
    reload: bool = False
    """A list on the page grew: fetch it again."""
    resync: bool = False
    """Curves changed in a way that points cannot say: fetch them again."""
    over: bool = False
    """The run ended; nothing will follow."""

    def __bool__(self) -> bool:
        return bool(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        parts: dict[str, Any] = {
            "state": self.state,
            "points": self.points,
            "marks": [vars(mark) for mark in self.marks],
            "rollouts": self.rollouts,
            "reload": self.reload,
            "resync": self.resync,
            "over": self.over,
        }
        found = {name: value for name, value in parts.items() if value}
        return found if self.phase is None else found | {"phase": self.phase}


def describe_state(run: Run, figures: Figures) -> dict[str, Any]:
    """The numbers of the page's head as they are written there."""
    return {
        "state": run.state,
        "active": run.is_active,
        "step": figures.step,
        "total": figures.total,
        "percent": figures.percent,
        "texts": {
            "step": intcomma(figures.step),
            "percent": f"{figures.percent} %",
            "loss": "–" if figures.loss is None else f"{figures.loss:.4f}",
            "held_out": "" if figures.held_out is None else f"{figures.held_out:.4f}",
            "reward": "" if figures.reward is None else f"{figures.reward:.4f}",
            "speed": "–" if not figures.seconds_per_step else f"{figures.seconds_per_step:.3g}",
            "idle": "" if figures.idle is None else f"{figures.idle:.0f}",
            "tokens": "–" if figures.tokens is None else intcomma(int(figures.tokens)),
            "left": span(figures.left) or "–",
            "spent": span(figures.spent),
        },
    }


def look_at(run_ids: Iterable[UUID]) -> dict[UUID, Seen]:
    """Where each run stands now. Runs that no longer exist are missing from the answer."""
    ids = list(run_ids)
    found: dict[UUID, Seen] = {}
    runs, series, attempts = _read_rows(ids)
    events = RunEvent.objects.filter(attempt__run__in=ids).order_by().values_list("attempt__run")
    newest = dict(events.annotate(newest=Max("id")))
    for run_id, run in runs.items():
        found[run_id] = _see(run, series[run_id], attempts[run_id], newest.get(run_id, 0))
    return found


def find_changes(seen: Mapping[UUID, Seen]) -> tuple[dict[UUID, Change], dict[UUID, Seen]]:
    """What is new in each run since it was seen, and how it is seen now; five queries at most for up to 400 runs."""
    changes: dict[UUID, Change] = {}
    now: dict[UUID, Seen] = {}
    ids = list(seen)
    for start in range(0, len(ids), RUNS_PER_QUERY):
        part = ids[start : start + RUNS_PER_QUERY]
        runs, series, attempts = _read_rows(part)
        events = _read_events({run_id: seen[run_id].event for run_id in part})
        grown = [
            one
            for run_id in part
            for one in series[run_id]
            if one.points > seen[run_id].points.get(one.pk, 0) and _is_small(one, seen[run_id])
        ]
        points = _read_new_points(grown, seen)
        for run_id in part:
            run = runs.get(run_id)
            if run is None:
                changes[run_id] = Change(over=True)
                continue
            before = seen[run_id]
            news = events[run_id]
            after = _see(run, series[run_id], attempts[run_id], news[-1].pk if news else before.event)
            now[run_id] = after
            changes[run_id] = _compare(run, before, after, series[run_id], news, points)
    return changes, now


def _read_rows(
    ids: Sequence[UUID],
) -> tuple[dict[UUID, Run], dict[UUID, list[MetricSeries]], dict[UUID, list[Attempt]]]:
    runs = {run.pk: run for run in Run.objects.filter(pk__in=ids).defer("snapshot", "notes")}
    series: dict[UUID, list[MetricSeries]] = defaultdict(list)
    for one in MetricSeries.objects.filter(run__in=ids):
        series[one.run_id].append(one)
    attempts: dict[UUID, list[Attempt]] = defaultdict(list)
    for attempt in Attempt.objects.filter(run__in=ids).defer("facts"):
        attempts[attempt.run_id].append(attempt)
    return runs, series, attempts


def _see(run: Run, series: list[MetricSeries], attempts: list[Attempt], event: int) -> Seen:
    return Seen(
        event=event,
        points={one.pk: one.points for one in series},
        last_steps={one.pk: one.last_step for one in series},
        state=describe_state(run, read_figures(run, attempts, series)),
    )


def _read_events(after: Mapping[UUID, int]) -> dict[UUID, list[RunEvent]]:
    """Events of each run behind its own cursor: ids of different runs may become visible out of order."""
    wanted = Q()
    for run_id, last in after.items():
        wanted |= Q(attempt__run=run_id, id__gt=last)
    found: dict[UUID, list[RunEvent]] = defaultdict(list)
    if not after:
        return found
    rows = RunEvent.objects.filter(wanted).exclude(type="batch_seen").select_related("attempt").order_by("id")
    for event in rows:
        found[event.attempt.run_id].append(event)
    return found


def _is_small(series: MetricSeries, before: Seen) -> bool:
    return series.points - before.points.get(series.pk, 0) <= MOST_POINTS


def _read_new_points(grown: list[MetricSeries], seen: Mapping[UUID, Seen]) -> dict[int, list[list[float | None]]]:
    """By series, steps and values of the points that were added; one query."""
    if not grown:
        return {}
    wanted = Q()
    for one in grown:
        last = seen[one.run_id].last_steps.get(one.pk)
        wanted |= Q(series=one.pk) if last is None else Q(series=one.pk, last_step__gt=last)
    steps: dict[int, list[np.ndarray]] = defaultdict(list)
    values: dict[int, list[np.ndarray]] = defaultdict(list)
    for chunk in MetricChunk.objects.filter(wanted, level=0).order_by("series", "seq"):
        steps[chunk.series_id].append(np.frombuffer(bytes(chunk.steps), "<i8"))
        values[chunk.series_id].append(np.frombuffer(bytes(chunk.values), "<f8"))
    found = {}
    for one in grown:
        added = one.points - seen[one.run_id].points.get(one.pk, 0)
        if one.pk not in steps:
            continue
        x, y = np.concatenate(steps[one.pk]), np.concatenate(values[one.pk])
        if len(x) >= added:
            shown = [None if not np.isfinite(value) else float(value) for value in y[-added:]]
            found[one.pk] = [x[-added:].tolist(), shown]
    return found


def _compare(
    run: Run,
    before: Seen,
    after: Seen,
    series: list[MetricSeries],
    events: list[RunEvent],
    points: Mapping[int, list[list[float | None]]],
) -> Change:
    change = Change(state=after.state if after.state != before.state else None)
    total = 0
    for one in series:
        added = one.points - before.points.get(one.pk, 0)
        if added < 0 or (added > 0 and one.pk not in points):
            change.resync = True
        elif added > 0:
            change.points[one.key] = points[one.pk]
            total += added
    if total > MOST_POINTS or change.resync or len(events) > MOST_EVENTS:
        change.points, change.resync = {}, True
    change.marks = list_marks(run, events)
    change.reload = any(event.type not in QUIET for event in events) or (
        before.state.get("state") != after.state.get("state")
    )
    for event in events:
        if event.type == "phase_progressed":
            change.phase = word_phase(event.payload)
        elif event.type == "rollouts_stored":
            change.rollouts = event.payload.get("step", 0)
    change.over = run.state not in ACTIVE and before.state.get("active", True)
    return change
