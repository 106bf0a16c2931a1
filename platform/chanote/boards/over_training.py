"""One run's checkpoints on one task: the curve with its band, and how much looking often flatters the best."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from chanote.boards.models import Board, Evaluation, Task
from chanote.boards.scores import read_scores
from chanote.boards.statistics import Comparison, Estimate, compare_sheet, estimate_mean
from chanote.boards.statistics.looks import selection_bias
from chanote.boards.statistics.sheet import Scores, Sheet, lay_out_scores
from chanote.boards.statistics.wording import word_number, word_verdict
from chanote.boards.table import unit_of
from chanote.runs.models import Run


@dataclass(frozen=True)
class CurvePoint:
    step: int
    evaluation: Evaluation
    estimate: Estimate
    """Its interval belongs to a band that holds the whole curve with 95 %: each at 1 - .05/looks (Bonferroni)."""
    against_first: Comparison | None
    """Corrected by Holm over the points; None of the first."""


@dataclass(frozen=True)
class Curve:
    task: Task
    run: Run
    points: tuple[CurvePoint, ...]
    flattery: float
    """How far the best point is expected to lie above its true score when all are equally good, in score units."""

    @property
    def looks(self) -> int:
        """Checkpoints scored on this task: each is one more chance to pick a lucky one."""
        return len(self.points)

    @property
    def best(self) -> CurvePoint:
        known = [point for point in self.points if point.estimate.mean is not None]
        return max(known, key=lambda point: (point.estimate.mean or 0.0) * (1 if self.task.higher_is_better else -1))


def runs_with_curves(board: Board, task: Task) -> list[Run]:
    """Runs of which the board has scores of this task at two steps or more."""
    steps: dict[Any, set[int]] = {}
    rows = board.evaluations.filter(task=task, run__isnull=False, step__isnull=False).values_list("run_id", "step")
    for run, step in rows:
        steps.setdefault(run, set()).add(step or 0)
    return list(Run.objects.defer("snapshot").filter(pk__in=[run for run, found in steps.items() if len(found) > 1]))


def read_curve(board: Board, task: Task, run: Run) -> Curve | None:
    """None below two scored steps."""
    newest: dict[int, Evaluation] = {}
    rows = board.evaluations.filter(task=task, run=run, step__isnull=False).select_related("model").defer("scores")
    for evaluation in rows.order_by("-created", "-pk"):
        newest.setdefault(evaluation.step or 0, evaluation)
    if len(newest) < 2:
        return None
    steps = sorted(newest)
    scores = read_scores([newest[step].pk for step in steps])
    level = 1 - 0.05 / len(steps)
    estimates, sheets = [], []
    for step in steps:
        one = scores[newest[step].pk]
        scored = ~np.isnan(one.values)
        taken = np.flatnonzero(one.asked if task.higher_is_better else one.asked & scored).tolist()
        values = np.where(scored, one.values, 0.0)[taken]
        estimates.append(estimate_mean(values, clusters=[one.clusters[place] for place in taken], level=level))
        by_item = zip(one.items, one.values.tolist(), one.asked.tolist(), one.failed.tolist(), strict=True)
        kept = [(item, None if np.isnan(value) else value, bad) for item, value, asked, bad in by_item if asked]
        sheets.append(Scores({item: value for item, value, _ in kept}, frozenset(item for item, _, bad in kept if bad)))
    first = scores[newest[steps[0]].pk]
    sheet = lay_out_scores(sheets, dict(zip(first.items, first.clusters, strict=True)))
    margin = float(task.definition["x_stats"]["equivalence_margin"])
    pairs = [(place, 0) for place in range(1, len(steps))]
    found = [None, *compare_sheet(sheet, pairs, margin=margin, higher_is_better=task.higher_is_better)]
    points = tuple(
        CurvePoint(step, newest[step], estimate, comparison)
        for step, estimate, comparison in zip(steps, estimates, found, strict=True)
    )
    error = max((one.error or 0.0 for one in estimates), default=0.0)
    return Curve(task, run, points, selection_bias(error, len(steps), shared=_correlate(sheet)))


def _correlate(sheet: Sheet) -> float:
    """Mean correlation of two checkpoints' scores over the items; what they share flatters neither."""
    values = np.where(np.isnan(sheet.values), 0.0, sheet.values)[:, sheet.asked.all(0)]
    varied = values[values.std(1) > 0] if values.size else values
    if len(varied) < 2:
        return 0.0
    matrix = np.corrcoef(varied)
    return float(np.clip(matrix[np.triu_indices(len(matrix), 1)].mean(), 0.0, 1.0))


def word_curve(curve: Curve) -> list[str]:
    """What the curve allows to be said."""
    unit = unit_of(curve.task)
    first, last, best = curve.points[0], curve.points[-1], curve.best
    sentences = []
    if last.against_first is not None:
        sentences.append(
            word_verdict(
                last.against_first, f"Step {last.step:,}", f"step {first.step:,}", unit=unit.name, scale=unit.scale
            )
        )
    size = word_number(curve.flattery, curve.flattery or None, scale=unit.scale)
    sentences.append(
        f"{curve.looks} checkpoints were looked at on these items. Were all equally good, the best, here step "
        f"{best.step:,}, would still lie about {size} {unit.name} above its true score: choose by other items than "
        "those that you report."
    )
    return sentences


def describe_curve(curve: Curve) -> dict[str, Any]:
    return {
        "task": curve.task.reference,
        "run": curve.run.number,
        "looks": curve.looks,
        "best_step": curve.best.step,
        "expected_flattery": curve.flattery,
        "band": "simultaneous, 95 % for the whole curve",
        "sentences": word_curve(curve),
        "points": [
            {
                "step": point.step,
                "model": point.evaluation.model.slug,
                "evaluation": point.evaluation.pk,
                "estimate": point.estimate.mean,
                "low": point.estimate.low,
                "high": point.estimate.high,
                "items": point.estimate.count,
                "delta": point.against_first.delta if point.against_first else None,
                "p_adjusted": point.against_first.p_adjusted if point.against_first else None,
                "verdict": point.against_first.verdict.value if point.against_first else None,
            }
            for point in curve.points
        ],
    }
