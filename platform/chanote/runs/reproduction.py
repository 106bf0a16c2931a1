"""Did a run that was launched again tell the same? Every metric, value by value, until the first that differs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chanote.runs.buckets import Floats, Ints
from chanote.runs.compare import flatten
from chanote.runs.metrics import read_points
from chanote.runs.models import Run, State

NOT_COMPARED = "system/"
"""Times, memory, energy: what the machine did, not what the run computed."""
OF_THE_PROCESS = frozenset({"pid", "hostname", "resumed_from_step"})
"""Facts of an attempt that have no influence on its numbers."""


@dataclass(frozen=True)
class Deviation:
    """The first place at which two runs tell different things."""

    key: str
    step: int
    then: float | None
    """None: told nothing at this step."""
    now: float | None


@dataclass(frozen=True)
class Reproduction:
    deviation: Deviation | None
    keys: int
    """Metrics compared."""
    points: int
    """Values that the two runs share, the same in both unless there is a deviation."""
    last_step: int
    """Up to which they were compared: where the earlier of the two ended."""
    surroundings: list[str]
    """What differs around them, such as `packages.torch: 2.12.0 then, 2.13.0 now`."""


def compare_metrics(then: Run, now: Run) -> Reproduction:
    """Compare what two runs of one frozen spec told, bit for bit; NaN equals NaN.

    A run that did not finish is compared as far as it came.
    """
    last_step = then.step if then.state != State.FINISHED else max(then.step, now.step)
    first, second = _read_all(then, last_step), _read_all(now, last_step)
    found = [
        deviation
        for key in sorted({*first, *second})
        if (deviation := find_deviation(key, first.get(key), second.get(key))) is not None
    ]
    return Reproduction(
        deviation=min(found, key=lambda one: (one.step, one.key), default=None),
        keys=len({*first, *second}),
        points=sum(min(len(first[key][0]), len(second[key][0])) for key in {*first} & {*second}),
        last_step=last_step,
        surroundings=list(_list_surroundings(then, now)),
    )


def find_deviation(key: str, then: tuple[Ints, Floats] | None, now: tuple[Ints, Floats] | None) -> Deviation | None:
    """The first step at which one curve has another value than the other, or none at all. Steps are in order."""
    steps_A, values_A = then if then is not None else _NOTHING
    steps_B, values_B = now if now is not None else _NOTHING
    both = min(len(steps_A), len(steps_B))
    same_N = (steps_A[:both] == steps_B[:both]) & (
        (values_A[:both] == values_B[:both]) | (np.isnan(values_A[:both]) & np.isnan(values_B[:both]))
    )
    place = both if same_N.all() else int(np.argmin(same_N))
    if place == len(steps_A) == len(steps_B):
        return None
    step = min(int(steps[place]) for steps in (steps_A, steps_B) if place < len(steps))
    return Deviation(key, step, _value_at(steps_A, values_A, place, step), _value_at(steps_B, values_B, place, step))


_NOTHING: tuple[Ints, Floats] = (np.zeros(0, dtype="<i8"), np.zeros(0, dtype="<f8"))


def _value_at(steps_N: Ints, values_N: Floats, place: int, step: int) -> float | None:
    return float(values_N[place]) if place < len(steps_N) and steps_N[place] == step else None


def _read_all(run: Run, last_step: int) -> dict[str, tuple[Ints, Floats]]:
    """Steps and values of every metric that the trainer told and that the spec decides."""
    told = {}
    for series in run.series.exclude(key__startswith=NOT_COMPARED):
        steps_N, values_N, _ = read_points(series, stop=last_step, of_trainer=True)
        if len(steps_N):
            told[series.key] = (steps_N, values_N)
    return told


def _list_surroundings(then: Run, now: Run) -> Iterator[str]:
    """Code, packages, device and threads of the last attempts, where they differ."""
    before, after = _surroundings(then), _surroundings(now)
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            yield f"{key}: {before.get(key, 'nothing')} then, {after.get(key, 'nothing')} now"


def _surroundings(run: Run) -> dict[str, str]:
    attempt = run.attempts.order_by("number").last()
    facts: dict[str, Any] = attempt.facts if attempt else {}
    told = {key: value for key, value in facts.items() if key not in OF_THE_PROCESS}
    return flatten({"code": run.snapshot.get("code", {}), **told})
