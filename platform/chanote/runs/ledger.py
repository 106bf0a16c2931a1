"""Ledgers of coins: on which steps a stage did the one thing or the other, and whether as often as the recipe asked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from chanote.runs.facts import list_stages, name_stage
from chanote.runs.metrics import read_points
from chanote.runs.models import MetricSeries, Run, RunEvent

LATEST = 12
"""Draws listed one by one."""
CELLS = 120
"""Most columns of the strip; of more steps several share one."""


@dataclass(frozen=True)
class Coin:
    """A metric that is 1 or 0 on each step."""

    title: str
    about: str
    did: str
    """What happened on the steps that drew, to be followed by `on 3 of 10 steps`."""
    chance: str
    """Field of the stage with the chance that the recipe asks for."""
    losses: tuple[tuple[str, str], ...]
    """Headings and keys of the losses that are listed with the latest draws."""
    once_a_round: bool = False
    """Tossed once for all optimiser steps between two rounds of sampling."""


COINS = {
    "knowledge/coin": Coin(
        "Knowledge ledger",
        "steps that also trained on text",
        "Text was drawn",
        "knowledge_rate",
        (("Knowledge loss", "knowledge/loss"), ("Policy loss", "policy/loss")),
    ),
    "distil/on_policy": Coin(
        "On-policy ledger",
        "steps that trained on the student's own completions",
        "The student wrote itself",
        "on_policy",
        (("Divergence", "distil/divergence_on_policy"),),
        once_a_round=True,
    ),
}


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
    """One stage's account of one coin."""

    key: str
    coin: Coin
    number: int
    """Of the stage."""
    stage: str
    steps: int
    """Steps told so far."""
    drawn: int
    asked: float | None
    """The recipe's chance; None when the frozen recipe does not say."""
    low: int
    high: int
    """With the asked chance, 95 of 100 runs would have drawn between these so far."""
    cells: list[Cell]
    latest: list[tuple[int, list[float | None]]]
    """Step and losses of the latest draws."""

    @property
    def name(self) -> str:
        return f"ledger-{self.key.partition('/')[0]}-{self.number}"

    @property
    def share(self) -> float:
        return self.drawn / self.steps

    @property
    def is_expected(self) -> bool:
        return self.low <= self.drawn <= self.high


@dataclass(frozen=True)
class _Stretch:
    """The steps of a stage that began."""

    number: int
    first: int
    last: int
    stage: Mapping[str, Any]


def list_ledgers(run: Run, events: Iterable[RunEvent], series: Iterable[MetricSeries]) -> list[Ledger]:
    """One for each coin and each stage that tossed it."""
    known = {one.key: one for one in series}
    stretches = _list_stretches(run, events)
    ledgers = []
    for key, coin in COINS.items():
        if key not in known:
            continue
        steps_N, tossed_N, _ = read_points(known[key])
        losses = [_read_by_step(known.get(name)) for _, name in coin.losses]
        for stretch in stretches:
            inside = (steps_N >= stretch.first) & (steps_N <= stretch.last)
            if inside.any():
                ledgers.append(_keep_account(key, stretch, steps_N[inside], tossed_N[inside] > 0.5, losses))
    return ledgers


def _list_stretches(run: Run, events: Iterable[RunEvent]) -> list[_Stretch]:
    """Stages in order of their first word; the whole run as one when no event tells of stages."""
    stages = list_stages(run)
    found = {}
    for event in events:
        facts = event.payload
        if event.type == "stage_started" and facts.get("steps"):
            number, first = facts.get("stage", 0), facts.get("first_step", 0)
            stage = stages[number] if 0 <= number < len(stages) else facts
            found[number] = _Stretch(number, first, first + facts["steps"] - 1, stage)
    return list(found.values()) or [_Stretch(0, 0, 2**62, {})]


def _read_by_step(series: MetricSeries | None) -> dict[int, float]:
    if series is None:
        return {}
    steps_N, values_N, _ = read_points(series)
    return dict(zip(steps_N.tolist(), values_N.tolist(), strict=True))


def _keep_account(
    key: str, stretch: _Stretch, steps_N: np.ndarray, drew_N: np.ndarray, losses: list[dict[int, float]]
) -> Ledger:
    coin = COINS[key]
    asked = stretch.stage.get(coin.chance)
    chance = float(asked) if isinstance(asked, int | float) and 0 <= asked <= 1 else None
    together = int(stretch.stage.get("updates_per_rollout") or 1) if coin.once_a_round else 1
    low, high = 0, len(steps_N)
    if chance is not None:
        low, high = (
            int(bound) * together for bound in scipy.stats.binom.interval(0.95, -(-len(steps_N) // together), chance)
        )
    latest = steps_N[drew_N][-LATEST:][::-1].tolist()
    return Ledger(
        key=key,
        coin=coin,
        number=stretch.number,
        stage=name_stage(stretch.stage) if stretch.stage else "",
        steps=len(steps_N),
        drawn=int(drew_N.sum()),
        asked=chance,
        low=low,
        high=min(high, len(steps_N)),
        cells=_list_cells(steps_N, drew_N),
        latest=[(step, [values.get(step) for values in losses]) for step in latest],
    )


def _list_cells(steps_N: np.ndarray, drew_N: np.ndarray) -> list[Cell]:
    cells = []
    for place, part in enumerate(np.array_split(np.arange(len(steps_N)), min(CELLS, len(steps_N)))):
        first, last, drawn = int(steps_N[part[0]]), int(steps_N[part[-1]]), int(drew_N[part].sum())
        title = (
            f"step {first:,}: {'yes' if drawn else 'no'}"
            if len(part) == 1
            else f"steps {first:,} to {last:,}: {drawn} of {len(part)}"
        )
        cells.append(Cell(place, round(12 * drawn / len(part), 2), title))
    return cells
