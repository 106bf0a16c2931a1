"""Charts of a run: which curves stand together, how they are called, and their drawing for readers without script."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from chanote.runs.metrics import Curve, read_curve
from chanote.runs.models import MetricSeries
from chanote.runs.pages import Mark

WIDTH, HEIGHT = 500, 200
LEFT, RIGHT, TOP, BOTTOM = 44, 488, 18, 172
"""Edges of the plotting area in the drawing's own units."""
MOST_SERIES = 8
"""Curves in one chart: as many as there are line styles."""
SECTIONS = (("train", "Training"), ("held_out", "Held-out"), ("system", "System"))
KNOWN = {
    "train/loss": ("Loss", "nats per token", "mean over the training tokens of each step"),
    "train/learning_rate": ("Learning rate", "", "of each step"),
    "train/grad_norm": ("Gradient norm", "", "before it is clipped"),
    "train/tokens": ("Tokens", "tokens", "trained on so far, over all stages"),
    "system/tokens_per_s": ("Speed", "tokens per second", ""),
    "system/seconds_per_step": ("Time per step", "seconds", ""),
    "system/memory_mb": ("Memory", "MB", "of the trainer"),
    "held_out/loss": ("Held-out loss", "nats per token", "on rows that no stage trains on"),
}


@dataclass(frozen=True)
class ChartLine:
    series: MetricSeries
    label: str
    number: int
    """From 1: chooses colour and dash pattern."""


@dataclass
class Chart:
    name: str
    title: str
    unit: str
    note: str
    lines: list[ChartLine] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        return [line.series.key for line in self.lines]


@dataclass
class Section:
    name: str
    title: str
    charts: list[Chart] = field(default_factory=list)


def arrange_charts(series: Iterable[MetricSeries]) -> list[Section]:
    """Sections with their charts: one for each key, but one for each measure of all held-out datasets together."""
    groups: dict[str, dict[str, list[MetricSeries]]] = defaultdict(lambda: defaultdict(list))
    for one in sorted(series, key=lambda one: one.key):
        section, _, rest = one.key.partition("/")
        if section == "held_out" and "/" in rest:
            groups[section][f"held_out/{rest.rpartition('/')[2]}"].append(one)
        else:
            groups[section if rest else "other"][one.key].append(one)
    known = [name for name, _ in SECTIONS]
    titles = dict(SECTIONS) | {name: name.replace("_", " ").capitalize() for name in groups if name not in known}
    sections = []
    for name in [*known, *sorted(set(groups) - set(known))]:
        charts = []
        for key, members in groups[name].items() if name in groups else []:
            title, unit, note = KNOWN.get(key, (_spell(key), "", ""))
            for start in range(0, len(members), MOST_SERIES):
                lines = [
                    ChartLine(one, _label(one.key), number)
                    for number, one in enumerate(members[start : start + MOST_SERIES], start=1)
                ]
                charts.append(Chart(key, title, unit, note, lines))
        charts.sort(key=lambda chart: list(KNOWN).index(chart.name) if chart.name in KNOWN else len(KNOWN))
        if charts:
            sections.append(Section(name, titles[name], charts))
    return sections


def _spell(key: str) -> str:
    return key.partition("/")[2].replace("_", " ").replace("/", ", ").capitalize() or key


def _label(key: str) -> str:
    section, _, rest = key.partition("/")
    return rest.rpartition("/")[0] if section == "held_out" and "/" in rest else rest.replace("_", " ") or key


@dataclass(frozen=True)
class Tick:
    place: float
    label: str


@dataclass(frozen=True)
class DrawnLine:
    number: int
    label: str
    line: str
    band: str


@dataclass(frozen=True)
class Drawing:
    """Paths and ticks in the drawing's own units."""

    lines: list[DrawnLine]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    marks: list[tuple[float, Mark]]
    is_empty: bool


def draw_chart(chart: Chart, *, last_step: int, marks: Sequence[Mark] = (), points: int = 160) -> Drawing:
    """The chart as SVG paths; the x axis runs from 0 to the last planned step, whatever was reached."""
    curves = [(line, read_curve(line.series, points=points)) for line in chart.lines]
    return draw_curves([(line.number, line.label, curve) for line, curve in curves], last_step=last_step, marks=marks)


def draw_curves(curves: Sequence[tuple[int, str, Curve]], *, last_step: int, marks: Sequence[Mark]) -> Drawing:
    lows = [float(value) for _, _, curve in curves for value in curve.low_P if math.isfinite(value)]
    highs = [float(value) for _, _, curve in curves for value in curve.high_P if math.isfinite(value)]
    reached = max((int(curve.last_P[-1]) for _, _, curve in curves if len(curve)), default=0)
    right = max(last_step, reached, 1)
    y_values = nice_ticks(min(lows, default=0.0), max(highs, default=1.0), 5)
    bottom, top = min(y_values[0], min(lows, default=0.0)), max(y_values[-1], max(highs, default=1.0))

    def x(step: float) -> float:
        return LEFT + (RIGHT - LEFT) * step / right

    def y(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (value - bottom) / (top - bottom)

    lines = []
    for number, label, curve in curves:
        middle = (curve.first_P + curve.last_P) / 2
        good = [place for place in range(len(curve)) if math.isfinite(curve.mean_P[place])]
        path = _path([(x(middle[place]), y(curve.mean_P[place])) for place in good])
        band = ""
        if not curve.is_exact and good:
            upper = [(x(middle[place]), y(curve.high_P[place])) for place in good]
            lower = [(x(middle[place]), y(curve.low_P[place])) for place in reversed(good)]
            band = _path(upper + lower) + "Z"
        lines.append(DrawnLine(number, label, path, band))
    return Drawing(
        lines=lines,
        x_ticks=[Tick(round(x(step), 1), f"{step:,.0f}") for step in nice_ticks(0, right, 5) if step <= right],
        y_ticks=[Tick(round(y(value), 1), spell_tick(value)) for value in y_values if bottom <= value <= top],
        marks=[(round(x(mark.step), 1), mark) for mark in marks if mark.step <= right],
        is_empty=not lows,
    )


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places) if places else ""


def nice_ticks(low: float, high: float, wanted: int) -> list[float]:
    """About `wanted` round numbers that span low to high."""
    if not high > low:
        span = abs(low) or 1.0
        low, high = low - span / 2, high + span / 2
    rough = (high - low) / max(wanted - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((power * factor for factor in (1, 2, 2.5, 5) if power * factor >= rough), power * 10)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def spell_number(value: float | None) -> str:
    """Four significant digits, thousands apart, without needless zeros; very small and very large with a power."""
    if value is None or not math.isfinite(value):
        return ""
    if value == 0:
        return "0"
    size = abs(value)
    text = f"{value:.3g}" if size < 1e-3 or size >= 1e9 else f"{value:,.0f}" if size >= 1e4 else f"{value:.4g}"
    return text.replace("-", "\N{MINUS SIGN}")


def spell_tick(value: float) -> str:
    """Short enough for an axis: `4 M`, `20 k`."""
    for size, unit, name in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= size:
            return f"{value / unit:,.4g} {name}".replace("-", "\N{MINUS SIGN}")
    return spell_number(value)
