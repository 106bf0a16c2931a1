"""A curve over training steps as coordinates for the SVG that the template draws."""

from collections.abc import Sequence
from dataclasses import dataclass

from chanote.boards.over_training import Curve
from chanote.boards.statistics.wording import word_number
from chanote.boards.table import unit_of
from chanote.boards.whiskers import Tick, make_axis

WIDTH, HEIGHT = 760, 260
LEFT, RIGHT, BOTTOM = 46, 12, 24


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    label: str


@dataclass(frozen=True)
class CurveDrawing:
    width: int
    height: int
    left: int
    right: int
    bottom: int
    """Where the plot ends: y of the axis of steps."""
    dots: tuple[Dot, ...]
    line: str
    """Path of the estimates."""
    band: str
    """Closed path around the intervals; empty where one is not defined."""
    levels: tuple[Tick, ...]
    """Of scores; `x` holds the height from the top."""
    steps: tuple[Tick, ...]
    label: str


def draw_curve(curve: Curve) -> CurveDrawing:
    unit = unit_of(curve.task)
    known = [point for point in curve.points if point.estimate.mean is not None]
    scaled = [
        [
            None if value is None else value * unit.scale
            for value in (one.estimate.mean, one.estimate.low, one.estimate.high)
        ]
        for one in known
    ]
    bottom = HEIGHT - BOTTOM
    axis = make_axis([value for row in scaled for value in row], width=bottom)
    first, last = known[0].step, known[-1].step
    span = max(1, last - first)

    def place_x(step: int) -> float:
        return round(LEFT + (step - first) / span * (WIDTH - LEFT - RIGHT), 1)

    def place_y(value: float) -> float:
        return round(bottom - axis.place(value), 1)

    dots = tuple(
        Dot(
            place_x(point.step),
            place_y(row[0] or 0.0),
            f"Step {point.step:,}: {word_number(point.estimate.mean or 0.0, point.estimate.error, scale=unit.scale)}",
        )
        for point, row in zip(known, scaled, strict=True)
    )
    upper = [
        (place_x(point.step), place_y(row[2])) for point, row in zip(known, scaled, strict=True) if row[2] is not None
    ]
    lower = [
        (place_x(point.step), place_y(row[1])) for point, row in zip(known, scaled, strict=True) if row[1] is not None
    ]
    whole = len(upper) == len(lower) == len(known)
    return CurveDrawing(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        bottom=bottom,
        dots=dots,
        line=_path([(dot.x, dot.y) for dot in dots]),
        band=f"{_path([*upper, *reversed(lower)])}Z" if whole else "",
        levels=tuple(Tick(round(bottom - tick.x, 1), tick.label) for tick in axis.ticks),
        steps=tuple(_choose_steps([Tick(place_x(point.step), f"{point.step:,}") for point in known])),
        label=f"{curve.task.reference} of {curve.run.name} over {curve.looks} checkpoints",
    )


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points) if points else ""


def _choose_steps(ticks: list[Tick]) -> list[Tick]:
    """Labels that do not run into each other; the last step is always named."""
    chosen = [ticks[-1]]
    for tick in reversed(ticks[:-1]):
        if chosen[-1].x - tick.x >= 60:
            chosen.append(tick)
    return chosen[::-1]
