"""Charts of a run: which curves stand together, how they are called, and their drawing for readers without script."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from chanote.runs.chart_plan import KNOWN, MAIN, PLANNED, UNCHARTED, Plan
from chanote.runs.metrics import Curve, read_curve
from chanote.runs.models import MetricSeries
from chanote.runs.pages import Mark

WIDTH, HEIGHT = 500, 200
LEFT, RIGHT, TOP, BOTTOM = 44, 488, 18, 172
"""Edges of the plotting area in the drawing's own units."""
MOST_SERIES = 8
"""Curves in one chart: as many as there are line styles."""


@dataclass(frozen=True)
class ChartLine:
    series: MetricSeries
    label: str
    number: int
    """From 1: chooses colour and dash pattern."""


@dataclass
class Chart:
    name: str
    """Its first key."""
    title: str
    unit: str
    note: str
    help: str = ""
    lines: list[ChartLine] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        return [line.series.key for line in self.lines]


@dataclass
class Section:
    name: str
    title: str
    question: str = ""
    charts: list[Chart] = field(default_factory=list)
    remarks: list[tuple[str, str]] = field(default_factory=list)
    """Keys whose charts would show zeros only, with what is said instead."""
    ledger: str = ""
    """Key of the coin whose tosses stand above the charts."""


def arrange_charts(series: Iterable[MetricSeries]) -> list[Section]:
    """Sections with their charts as planned, then a chart for every other key; nothing that has no points."""
    every = sorted(series, key=lambda one: one.key)
    left = {one.key: one for one in every if one.key not in UNCHARTED}
    sections = {plan.name: Section(plan.name, plan.title, plan.question) for plan in PLANNED}
    for key, name in UNCHARTED.items():
        sections[name].ledger = key if any(one.key == key for one in every) else ""
    if any(one.key.startswith("knowledge/") for one in every):
        # Both objectives are read side by side, with the ledger above them.
        _add_charts(sections["knowledge"], KNOWN["policy/loss"], [left.pop("policy/loss", None)])
    for planned in PLANNED:
        for plan in planned.plans:
            _add_charts(sections[planned.name], plan, [left.pop(key, None) for key in _match(plan, left)])
    while left:
        key = next(iter(left))
        prefix, _, rest = key.partition("/")
        home = next((planned.name for planned in PLANNED if planned.prefix == prefix), prefix if rest else "other")
        section = sections.setdefault(home, Section(home, home.replace("_", " ").capitalize()))
        if home == "held_out" and "/" in rest:
            key = f"held_out/{rest.partition('/')[2]}"
        plan = Plan(_spell(key), "", "", "", (key,))
        _add_charts(section, plan, [left.pop(one, None) for one in _match(plan, left)])
    return [section for section in sections.values() if section.charts or section.remarks or section.ledger]


def _match(plan: Plan, keys: Iterable[str]) -> list[str]:
    """Keys of a plan among those there are, in its order. Held-out measures of all datasets make one chart."""
    found = []
    for key in plan.keys:
        if key.startswith("held_out/"):
            found += [one for one in keys if _fits(one.split("/", 2), key.removeprefix("held_out/"))]
        elif key.endswith("*"):
            found += [one for one in keys if one.startswith(key[:-1])]
        else:
            found += [one for one in keys if one == key]
    return found


def _fits(parts: list[str], measure: str) -> bool:
    """Whether `held_out/<dataset>/<rest>` is the measure, or begins like one that ends in `*`."""
    if len(parts) < 3 or parts[0] != "held_out":
        return False
    return parts[2].startswith(measure[:-1]) if measure.endswith("*") else parts[2] == measure


def _add_charts(section: Section, plan: Plan, members: Iterable[MetricSeries | None]) -> None:
    there = [one for one in members if one is not None]
    if len(there) == 2 and plan.keys[-1].endswith("/*") and _summary(there[0]) == _summary(there[1]):
        # The only component, at weight 1, is the total: one line drawn over the other hides both.
        there = there[:1]
    if plan.if_never and there and all(one.lowest == one.highest == 0 for one in there):
        section.remarks.append((" ".join(one.key for one in there), plan.if_never))
        return
    for start in range(0, len(there), MOST_SERIES):
        lines = [
            ChartLine(one, _label(one.key, plan), number)
            for number, one in enumerate(there[start : start + MOST_SERIES], start=1)
        ]
        section.charts.append(Chart(plan.keys[0], plan.title, plan.unit, plan.note, plan.help, lines))


def _summary(series: MetricSeries) -> tuple[float | None, ...]:
    return series.points, series.last_step, series.last_value, series.lowest, series.highest


def choose_main(charts: Iterable[Chart]) -> Chart | None:
    """The chart that says best how the run goes: of the main keys the one with the newest point."""
    main = {chart.name: chart for chart in charts if chart.name in MAIN and chart.lines}
    newest = max((chart.lines[0].series.last_step for chart in main.values()), default=0)
    return next((main[name] for name in MAIN if name in main and main[name].lines[0].series.last_step == newest), None)


def _spell(key: str) -> str:
    return key.partition("/")[2].replace("_", " ").replace("/", ", ").capitalize() or key


def _label(key: str, plan: Plan) -> str:
    """What a curve is called among its neighbours."""
    if key in plan.keys and plan.keys.index(key) < len(plan.names):
        return plan.names[plan.keys.index(key)]
    for pattern in plan.keys:
        if pattern.endswith("*") and key.startswith(pattern[:-1]):
            return key.removeprefix(pattern[:-1]).replace("_", " ")
    section, _, rest = key.partition("/")
    if section != "held_out" or "/" not in rest:
        return rest.replace("_", " ") or key
    dataset, _, measure = rest.partition("/")
    place = plan.keys.index(f"held_out/{measure}") if f"held_out/{measure}" in plan.keys else len(plan.keys)
    if place < len(plan.names):
        return f"{dataset}, {plan.names[place]}"
    part = measure.partition("/")[2].replace("_", " ")
    return f"{dataset}, {part}" if part and len(plan.keys) > 1 else dataset


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
    """Short enough for an axis: `4 M`, `20 k`, `1.4e−4`."""
    for size, unit, name in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= size:
            return f"{value / unit:,.4g} {name}".replace("-", "\N{MINUS SIGN}")
    if 0 < abs(value) < 1e-3:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{float(digits):g}e{int(power)}".replace("-", "\N{MINUS SIGN}")
    return spell_number(value)
