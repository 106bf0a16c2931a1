"""Mixtures of a run as they were drawn, beside what its recipe planned."""

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import ValidationError

from chanote.recipes.mixtures import Mixture, Picture, draw_picture, list_mixtures, overall_shares, plan_spans
from chanote.runs.metrics import read_curve
from chanote.runs.models import MetricSeries, Run
from chanote.runs.pages import StageLine
from trainer.contract import Recipe
from trainer.contract.mixture import Span

MOST_PARTS = 40
"""Parts of the picture of a stage."""
POINTS = 1000


def draw_mixtures(run: Run, stages: Sequence[StageLine], series: Sequence[MetricSeries]) -> list[Picture]:
    """What every stage drew up to now; nothing for stages that have not begun."""
    known = {one.key: one for one in series if one.key.startswith("mixture/")}
    if not known:
        return []
    try:
        recipe = Recipe.model_validate(run.snapshot["recipe"])
    except (KeyError, ValidationError):  # frozen under an older contract
        return []
    found = (_draw(run, mixture, stages[mixture.stage], known) for mixture in list_mixtures(recipe))
    return [picture for picture in found if picture is not None]


def _draw(run: Run, mixture: Mixture, line: StageLine, known: Mapping[str, MetricSeries]) -> Picture | None:
    """The counters of the stage's sources, cut into equal parts."""
    if not line.first_step or not line.steps:
        return None
    # Names are unique here: a source that stands twice in a mixture has one counter, shown at its first place.
    names = list(dict.fromkeys(source.dataset for source in mixture.sources))
    field = "corpus" if mixture.title.endswith("that is read") else "data"
    counters = [known.get(f"mixture/{field}/{name}/{mixture.unit}") for name in names]
    first, steps = line.first_step, line.steps
    last = max((one.last_step for one in counters if one is not None), default=0)
    reached = min(last, first + steps - 1)
    if reached < first:
        return None
    parts = min(MOST_PARTS, steps)
    edges = [part for part in range(parts + 1) if first - 1 + steps * part // parts <= reached]
    at = [first - 1 + steps * part // parts for part in edges]
    places = [edge / parts for edge in edges]
    if at[-1] < reached:
        at, places = [*at, reached], [*places, (reached - first + 1) / steps]
    totals = [_read_at(one, at, first, reached) for one in counters]
    spans = []
    for number in range(len(at) - 1):
        drawn = [total[number + 1] - total[number] for total in totals]
        whole = sum(drawn)
        spans.append(Span(places[number], places[number + 1], [one / whole if whole else 0.0 for one in drawn]))
    planned = overall_shares(plan_spans(mixture, run.project)[0], len(mixture.sources))
    by_name: dict[str, float] = dict.fromkeys(names, 0.0)
    for source, share in zip(mixture.sources, planned, strict=True):
        by_name[source.dataset] += share
    return draw_picture(
        mixture.title,
        mixture.unit,
        spans,
        names,
        amounts=[total[-1] for total in totals],
        planned=list(by_name.values()),
        ticks=[(place, f"{first - 1 + round(steps * place):,}") for place in (0.0, 0.25, 0.5, 0.75, 1.0)],
    )


def _read_at(series: MetricSeries | None, steps: Sequence[int], first: int, last: int) -> list[float]:
    """A counter that never falls, at these steps; 0 before its first point."""
    if series is None:
        return [0.0] * len(steps)
    curve = read_curve(series, first, last, points=POINTS)
    places = np.searchsorted(curve.last_P, steps, side="right") - 1
    return [float(curve.high_P[place]) if place >= 0 else 0.0 for place in places]
