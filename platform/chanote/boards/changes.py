"""What became of a model against another on every task of a board: a map to search, and what was forgotten."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chanote.boards.models import Evaluation, Task
from chanote.boards.scores import pair_scores, read_scores
from chanote.boards.selectors import BoardContent
from chanote.boards.standings import find_standings
from chanote.boards.statistics import Comparison
from chanote.boards.statistics.discovery import adjust_discovery
from chanote.boards.statistics.equivalence import (
    NonInferiority,
    Retention,
    check_noninferiority,
    decide_retention,
)
from chanote.boards.statistics.holm import adjust_holm
from chanote.boards.statistics.power import LEVEL
from chanote.boards.statistics.wording import word_number, word_p
from chanote.boards.table import unit_of

STEPS = (1.0, 2.5, 5.0)
"""Margins past which a cell of the map takes the next darker shade."""


@dataclass(frozen=True)
class Cell:
    """One model on one task, less the baseline."""

    comparison: Comparison
    q: float
    """After Benjamini and Hochberg over all cells of the map."""
    delta: str

    @property
    def is_marked(self) -> bool:
        return self.q < LEVEL

    @property
    def is_better(self) -> bool:
        return ((self.comparison.delta or 0) > 0) == self.comparison.higher_is_better

    @property
    def shade(self) -> int:
        """1 to 4 by size, in margins."""
        size = abs(self.comparison.delta or 0) / self.comparison.margin
        return 1 + sum(size >= step for step in STEPS)


@dataclass(frozen=True)
class ChangeMap:
    """Every model against the baseline on every task."""

    tasks: Sequence[Task]
    rows: Mapping[str, Sequence[Cell | None]]
    """By model, a cell for each task; None where there is nothing to compare."""

    @property
    def cells(self) -> int:
        return sum(cell is not None for row in self.rows.values() for cell in row)


def read_map(content: BoardContent) -> ChangeMap:
    """The map of a board that has a baseline with scores."""
    by_task = content.tables.evaluations
    base = {task: one for task, found in by_task.items() for one in found if one.model.slug == content.baseline}
    tables = {task: by_task[task] for task in by_task if task in base}
    standings = find_standings(tables, against={one.pk for one in base.values()})
    found: dict[tuple[str, Task], Comparison] = {}
    for task, evaluations in tables.items():
        for one in evaluations:
            comparison = standings[task].comparisons.get((one.pk, base[task].pk))
            turned = standings[task].comparisons.get((base[task].pk, one.pk))
            comparison = comparison or (turned.turned() if turned else None)
            if comparison is not None and comparison.p is not None:
                found[one.model.slug, task] = comparison
    # A verdict that hangs on how failures are counted is no place to look at for the model's sake.
    q = adjust_discovery([1.0 if one.withheld else one.p or 0.0 for one in found.values()]).tolist()
    cells = {place: _make_cell(one, value, place[1]) for (place, one), value in zip(found.items(), q, strict=True)}
    models = sorted(content.tables.models() - {content.baseline})
    return ChangeMap(list(tables), {name: [cells.get((name, task)) for task in tables] for name in models})


def _make_cell(one: Comparison, q: float, task: Task) -> Cell:
    return Cell(one, q, word_number(one.delta or 0.0, one.error, scale=unit_of(task).scale, sign=True))


@dataclass(frozen=True)
class Kept:
    """One task of a suite: is the new model not worse than the old one by the task's margin?"""

    task: Task
    check: NonInferiority | None
    """None where they share too few items; p values are corrected over the suite."""
    outcome: Retention
    sentence: str


def check_suite(
    pairs: Mapping[Task, tuple[Evaluation, Evaluation]],
    *,
    new: str,
    old: str,
    margins: Mapping[Task, float] | None = None,
) -> list[Kept]:
    """Non-inferiority on every task, Holm over the tasks: of "kept" and of "lost" each as a family of its own.

    Without `margins` they are those of the tasks' frozen definitions, which were set before any score was seen.
    """
    scores = read_scores([one.pk for pair in pairs.values() for one in pair])
    checks = {}
    for task, (a, b) in pairs.items():
        values, others, clusters = pair_scores(scores[a.pk], scores[b.pk], higher_is_better=task.higher_is_better)
        margin = (margins or {}).get(task, float(task.definition["x_stats"]["equivalence_margin"]))
        checks[task] = check_noninferiority(values.tolist(), others.tolist(), margin=margin, clusters=clusters)
    defined = [task for task, check in checks.items() if check is not None]
    kept = adjust_holm([check.p for check in checks.values() if check is not None]).tolist()
    worse = adjust_holm([check.p_worse for check in checks.values() if check is not None]).tolist()
    corrected = {task: both for task, *both in zip(defined, kept, worse, strict=True)}
    found = []
    for task, check in checks.items():
        if check is None:
            words = f"{new} and {old} share fewer than two independent items of {task.reference}."
            found.append(Kept(task, None, Retention.UNDECIDED, words))
            continue
        p, p_worse = corrected[task]
        check = replace(check, p=p, p_worse=p_worse)
        found.append(Kept(task, check, check.outcome, word_retention(check, task, new=new, old=old)))
    return found


def word_retention(check: NonInferiority, task: Task, *, new: str, old: str) -> str:
    unit = unit_of(task)
    margin = f"{check.margin * unit.scale:g} {unit.name}"
    low = word_number(check.low, _spread(check), scale=unit.scale, sign=True)
    size = word_number(abs(check.delta), _spread(check), scale=unit.scale)
    match decide_retention(check.p, check.p_worse):
        case Retention.KEPT:
            return (
                f"{new} has kept {task.reference}: with 95 % it is less than {margin} worse than {old} "
                f"({word_p(check.p)})."
            )
        case Retention.KEPT_BUT_WORSE:
            return (
                f"{new} is worse than {old} on {task.reference} by {size} {unit.name}, but surely by less than "
                f"{margin}."
            )
        case Retention.LOST:
            return f"{new} has lost {size} {unit.name} on {task.reference} against {old} ({word_p(check.p_worse)})."
    return (
        f"Undecided on {task.reference}: {check.count:,} items allow a loss down to {low} {unit.name}, "
        f"and the margin is {margin}."
    )


def _spread(check: NonInferiority) -> float:
    """Standard error as the one-sided bound implies it."""
    return abs(check.delta - check.low) / 1.645


def describe_kept(found: Sequence[Kept]) -> list[dict[str, Any]]:
    return [
        {
            "task": one.task.reference,
            "outcome": one.outcome.value,
            "sentence": one.sentence,
            "margin": one.check.margin if one.check else float(one.task.definition["x_stats"]["equivalence_margin"]),
            # Of perplexity and its like the sign is turned: more is better in all of these numbers.
            "delta": one.check.delta if one.check else None,
            "lower_bound": one.check.low if one.check and one.check.low > float("-inf") else None,
            "p_not_inferior": one.check.p if one.check else None,
            "p_worse": one.check.p_worse if one.check else None,
            "items": one.check.count if one.check else 0,
            "clusters": one.check.clusters if one.check else 0,
            "method": one.check.method if one.check else "undefined",
        }
        for one in found
    ]


def pair_evaluations(content: BoardContent, new: str, old: str) -> dict[Task, tuple[Evaluation, Evaluation]]:
    """Tasks of the board on which both models have a score."""
    pairs = {}
    for task, found in content.tables.evaluations.items():
        by_model = {one.model.slug: one for one in found}
        if new in by_model and old in by_model:
            pairs[task] = (by_model[new], by_model[old])
    return pairs
