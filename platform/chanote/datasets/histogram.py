"""Lengths of rows as bars on a logarithmic axis, coordinates already placed."""

import math
from dataclasses import dataclass
from typing import Any

LEFT, RIGHT, TOP, BOTTOM = 34.0, 316.0, 24.0, 82.0
MOST_BARS = 24
MOST_LABELS = 5


@dataclass(frozen=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Histogram:
    bars: list[Bar]
    ticks: list[tuple[float, str]]
    """Vertical axis: y and label."""
    labels: list[tuple[float, str]]
    """Horizontal axis: x and length."""
    p95: tuple[float, str] | None
    summary: str


def draw_histogram(length: dict[str, Any]) -> Histogram | None:
    """The picture of `statistics["length"]`; None where all rows are about as long."""
    bins = merge_bins([tuple(one) for one in length.get("bins", [])])
    if len(bins) < 2:
        return None
    low, high = math.log(max(bins[0][0], 1)), math.log(max(bins[-1][1], 2))

    def place(value: float) -> float:
        return LEFT + 4 + (RIGHT - LEFT - 4) * (math.log(max(value, 1)) - low) / (high - low)

    top = round_up(max(count for _, _, count in bins))
    bars = []
    for start, end, count in bins:
        height = (BOTTOM - TOP) * count / top
        spell = f"{start:,}" if end - start == 1 else f"{start:,} to {end - 1:,}"
        left, right = place(start), place(end)
        title = f"{count:,} {'row' if count == 1 else 'rows'} of {spell} characters"
        bars.append(Bar(_cut(left), _cut(BOTTOM - height), _cut(max(right - left - 1, 1)), _cut(height), title))
    ticks = [(_cut(BOTTOM - (BOTTOM - TOP) * share), spell_count(top * share)) for share in (0, 0.5, 1)]
    return Histogram(
        bars=bars,
        ticks=ticks if top > 1 else [ticks[0], ticks[2]],
        labels=_label(bins[0][0], bins[-1][1], place),
        p95=(_cut(place(length["p95"])), f"95 %: {length['p95']:,}") if length["p95"] > bins[0][0] else None,
        summary=(
            f"Histogram of {sum(count for _, _, count in bins):,} rows by characters, from {length['lowest']:,} to "
            f"{length['highest']:,}, half of them up to about {length['median']:,}"
        ),
    )


def merge_bins(bins: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """At most MOST_BARS bins: neighbours in twos, fours … together, gaps kept."""
    if not bins:
        return []
    low, high = math.log2(max(bins[0][0], 1)), math.log2(max(bins[-1][1], 2))
    step = 0.25
    while (high - low) / step > MOST_BARS:
        step *= 2
    merged: dict[int, tuple[int, int, int]] = {}
    for start, end, count in bins:
        if count == 0 or end <= start:
            continue
        key = math.floor(math.log2(max(start, 1)) / step + 1e-9)
        old = merged.get(key, (start, end, 0))
        merged[key] = (min(old[0], start), max(old[1], end), old[2] + count)
    return [merged[key] for key in sorted(merged)]


def round_up(value: float) -> int:
    """The next of 1, 2, 4, 6, 8, 10, 20, 40 …, so that its half is a round number too."""
    power = 10 ** math.floor(math.log10(max(value, 1)))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value)


def spell_count(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:,.10g}"


def _label(low: int, high: int, place: Any) -> list[tuple[float, str]]:
    """Lengths 1, 2, 5, 10, 20 … within the picture, thinned until they stand apart."""
    steps = [lead * 10**power for power in range(10) for lead in (1, 2, 5)]
    inside = [step for step in steps if low <= step <= high] or [low]
    inside = inside[:: math.ceil(len(inside) / MOST_LABELS)]
    return [(_cut(place(step)), f"{step:,}") for step in inside]


def _cut(value: float) -> float:
    return round(value, 1)
