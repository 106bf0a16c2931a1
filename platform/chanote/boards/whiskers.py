"""Interval whiskers: coordinates on a column's shared axis, for the SVG that templates draw."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PADDING = 10.0


@dataclass(frozen=True)
class Tick:
    x: float
    label: str


@dataclass(frozen=True)
class Whisker:
    """Pixels. `low` and `high` are None where there is no interval."""

    middle: float
    low: float | None
    high: float | None
    label: str
    """What a screen reader says."""


@dataclass(frozen=True)
class Axis:
    """A straight scale from values to pixels, with at most six round ticks."""

    low: float
    high: float
    width: int
    ticks: tuple[Tick, ...]

    def place(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(PADDING + share * (self.width - 2 * PADDING), 1)

    def draw(self, middle: float, low: float | None, high: float | None, label: str) -> Whisker:
        return Whisker(
            self.place(middle),
            None if low is None else self.place(low),
            None if high is None else self.place(high),
            label,
        )

    @property
    def label(self) -> str:
        return f"Axis from {self.low:g} to {self.high:g}"


def make_axis(values: Iterable[float | None], *, width: int = 164, include: Sequence[float] = ()) -> Axis:
    """An axis that holds all values, from tick to tick."""
    finite = [value for value in (*values, *include) if value is not None and math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if high - low < 1e-12:
        low, high = low - 0.5, high + 0.5
    step = _round_step((high - low) / 4)
    first, last = math.floor(low / step), math.ceil(high / step)
    places = max(0, -math.floor(math.log10(step)))
    axis = Axis(first * step, last * step, width, ())
    ticks = tuple(
        Tick(axis.place(n * step), f"{n * step:.{places}f}".replace("-", "\u2212")) for n in range(first, last + 1)
    )
    return Axis(axis.low, axis.high, width, ticks)


def _round_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
