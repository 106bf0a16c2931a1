"""The ledger of injected knowledge: on which steps text was drawn, and whether that is what the recipe asked for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binom

from chanote.runs.facts import list_stages, name_stage
from chanote.runs.metrics import read_points
from chanote.runs.models import MetricSeries, Run, RunEvent

COIN = "knowledge/coin"
LATEST = 12
"""Draws listed one by one."""
CELLS = 120
"""Most columns of the strip; of more steps several share one."""
RHO = "knowledge_rate"
"""Field of a stage: the chance of each optimiser step to draw text."""


@dataclass(frozen=True)
class Draw:
    step: int
    knowledge_loss: float | None
    policy_loss: float | None


@dataclass(frozen=True)
class Cell:
    """A column of the strip. `height` is the share of its steps that drew, from 0 to 12."""

    place: int
    height: float
    title: str

    @property
    def top(self) -> float:
        return round(12 - self.height, 2)


@dataclass(frozen=True)
class Ledger:
    """One stage's account."""

    name: str
    title: str
    steps: int
    """Steps told so far."""
    drawn: int
    asked: float | None
    """The recipe's chance; None when the frozen recipe does not say."""
    low: int
    high: int
    """With the asked chance, 95 of 100 runs would have drawn between these so far."""
    cells: list[Cell]
    latest: list[Draw]

    @property
    def share(self) -> float:
        return self.drawn / self.steps

    @property
    def is_expected(self) -> bool:
        return self.low <= self.drawn <= self.high


def list_ledgers(run: Run, events: Iterable[RunEvent], series: Iterable[MetricSeries]) -> list[Ledger]:
    """One for each stage that tossed the coin."""
    known = {one.key: one for one in series}
    if COIN not in known:
        return []
    steps_N, coins_N, _ = read_points(known[COIN])
    losses = {key: _read_by_step(known.get(key)) for key in ("knowledge/loss", "policy/loss")}
    ledgers = []
    for number, (first, last), stage in _list_borders(run, events, int(steps_N[0])):
        inside = (steps_N >= first) & (steps_N <= last)
        if inside.any():
            ledgers.append(_keep_account(number, stage, steps_N[inside], coins_N[inside] > 0.5, losses))
    return ledgers


def _list_borders(
    run: Run, events: Iterable[RunEvent], first_step: int
) -> list[tuple[int, tuple[int, int], Mapping[str, Any]]]:
    """Number, first and last step, and frozen recipe of each stage that began; the whole run when no event tells."""
    stages = list_stages(run)
    found = {}
    for event in events:
        facts = event.payload
        if event.type == "stage_started" and facts.get("steps"):
            number, first = facts.get("stage", 0), facts.get("first_step", 0)
            stage = stages[number] if 0 <= number < len(stages) else facts
            found[number] = (number, (first, first + facts["steps"] - 1), stage)
    return list(found.values()) or [(0, (first_step, 2**62), {})]


def _read_by_step(series: MetricSeries | None) -> dict[int, float]:
    if series is None:
        return {}
    steps_N, values_N, _ = read_points(series)
    return dict(zip(steps_N.tolist(), values_N.tolist(), strict=True))


def _keep_account(
    number: int,
    stage: Mapping[str, Any],
    steps_N: np.ndarray,
    drew_N: np.ndarray,
    losses: Mapping[str, Mapping[int, float]],
) -> Ledger:
    asked = stage.get(RHO)
    chance = float(asked) if isinstance(asked, int | float) and 0 <= asked <= 1 else None
    low, high = (0, len(steps_N)) if chance is None else binom.interval(0.95, len(steps_N), chance)
    latest = steps_N[drew_N][-LATEST:][::-1].tolist()
    return Ledger(
        name=f"ledger-{number}",
        title=name_stage(stage) if stage else "",
        steps=len(steps_N),
        drawn=int(drew_N.sum()),
        asked=chance,
        low=int(low),
        high=int(high),
        cells=_list_cells(steps_N, drew_N),
        latest=[Draw(step, losses["knowledge/loss"].get(step), losses["policy/loss"].get(step)) for step in latest],
    )


def _list_cells(steps_N: np.ndarray, drew_N: np.ndarray) -> list[Cell]:
    cells = []
    for place, part in enumerate(np.array_split(np.arange(len(steps_N)), min(CELLS, len(steps_N)))):
        first, last, drawn = int(steps_N[part[0]]), int(steps_N[part[-1]]), int(drew_N[part].sum())
        title = (
            f"step {first:,}: {'drawn' if drawn else 'not drawn'}"
            if len(part) == 1
            else f"steps {first:,} to {last:,}: {drawn} of {len(part)} drawn"
        )
        cells.append(Cell(place, round(12 * drawn / len(part), 2), title))
    return cells
