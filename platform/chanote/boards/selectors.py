"""Reads that join, count or compare."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from django.db.models import Count, Max, Q, QuerySet

from chanote.boards.cleaning import Clean, Cleaning, describe_cleaning, find_cleaning
from chanote.boards.headline import write_headline
from chanote.boards.judging.calibration import Calibration
from chanote.boards.judging.describe import calibrate_task, describe_calibration, describe_correction
from chanote.boards.judging.otherwise import find_judged_otherwise
from chanote.boards.models import Board, Evaluation, Sample, Task
from chanote.boards.scores import ItemScores, read_scores
from chanote.boards.standings import Beside, find_standings
from chanote.boards.statistics import Estimate
from chanote.boards.statistics.estimate import is_binary
from chanote.boards.statistics.wording import ONE_RUN_EACH, word_verdict
from chanote.boards.table import Table, build_table, unit_of
from chanote.models.models import Model
from chanote.runs.models import Run


def boards_with_counts(boards: QuerySet[Board]) -> QuerySet[Board]:
    """Boards with the number of models and tasks on them and the time of the last score."""
    return boards.annotate(
        models_count=Count("evaluations__model", distinct=True),
        tasks_count=Count("evaluations__task", distinct=True),
        last_scored=Max("evaluations__created"),
    )


def tasks_with_counts(tasks: QuerySet[Task]) -> QuerySet[Task]:
    return tasks.annotate(models_count=Count("evaluations__model", distinct=True)).select_related(
        "dataset_version__dataset"
    )


def latest_evaluations(board: Board) -> dict[Task, list[Evaluation]]:
    """The newest evaluation of each model, by task; most models first, likelihood last, then the task frozen first.

    Four queries however large the board: rows of tasks, models and runs are read once each, not with every evaluation.
    """
    newest: dict[tuple[int, int], Evaluation] = {}
    for evaluation in board.evaluations.defer("scores").order_by("-created", "-pk"):
        newest.setdefault((evaluation.task_id, evaluation.model_id), evaluation)
    found = sorted(newest.values(), key=lambda one: one.pk)
    tasks = Task.objects.select_related("dataset_version").in_bulk({one.task_id for one in found})
    models = Model.objects.in_bulk({one.model_id for one in found})
    runs = Run.objects.defer("snapshot").in_bulk({one.run_id for one in found if one.run_id})
    by_task: dict[Task, list[Evaluation]] = {}
    for evaluation in found:
        evaluation.task, evaluation.model = tasks[evaluation.task_id], models[evaluation.model_id]
        evaluation.run = runs[evaluation.run_id] if evaluation.run_id else None
        by_task.setdefault(evaluation.task, []).append(evaluation)
    frozen = {task.slug: task.pk for task in sorted(by_task, key=lambda task: -task.pk)}

    def place(pair: tuple[Task, list[Evaluation]]) -> tuple[int, bool, int, int]:
        task, found = pair
        return -len(found), not task.higher_is_better, frozen[task.slug], -task.number

    return dict(sorted(by_task.items(), key=place))


@dataclass(frozen=True)
class TaskEstimates:
    task: Task
    estimates: Mapping[str, Estimate]
    """By model."""


class Tables(Mapping[str, Table]):
    """Tables by task reference, the task with most models first; each is put together when it is asked for."""

    def __init__(self, evaluations: Mapping[Task, list[Evaluation]], cleaning: Cleaning | None = None) -> None:
        self._evaluations = {task.reference: (task, found) for task, found in evaluations.items()}
        self._without = {} if cleaning is None else {task: cleaning.left_out(task) for task in evaluations}
        self._built: dict[str, Table] = {}

    def __getitem__(self, reference: str) -> Table:
        if reference not in self._built:
            self._build([reference])
        return self._built[reference]

    def __iter__(self) -> Iterator[str]:
        return iter(self._evaluations)

    def __len__(self) -> int:
        return len(self._evaluations)

    def build_all(self) -> list[Table]:
        """Every table, by one query for all that is missing."""
        self._build([reference for reference in self if reference not in self._built])
        return [self._built[reference] for reference in self]

    def find_estimates(self, references: Sequence[str]) -> list[TaskEstimates]:
        """Only the estimates of tasks, by model: many times quicker than their tables."""
        chosen = dict(self._evaluations[reference] for reference in references)
        found = find_standings(chosen, whole=False, without=self._without)
        return [
            TaskEstimates(task, {one.model.slug: found[task].estimates[one.pk] for one in evaluations})
            for task, evaluations in chosen.items()
        ]

    @property
    def evaluations(self) -> dict[Task, list[Evaluation]]:
        return dict(self._evaluations.values())

    def models(self) -> set[str]:
        return {one.model.slug for _, found in self._evaluations.values() for one in found}

    def _build(self, references: Sequence[str]) -> None:
        chosen = dict(self._evaluations[reference] for reference in references)
        otherwise = find_judged_otherwise(self.evaluations, list(chosen))
        for task, found in find_standings(chosen, without=self._without).items():
            evaluations = chosen[task]
            if self._without.get(task):
                evaluations = [_narrow(one, found.beside[one.pk]) for one in evaluations]
            table = build_table(task, evaluations, found)
            self._built[task.reference] = self._add_judged_otherwise(table, otherwise.get(task, {}))

    def _add_judged_otherwise(self, table: Table, others: Mapping[Task, str]) -> Table:
        """With the models that only other judges scored, below all others."""
        added: list[tuple[Evaluation, Estimate, str]] = []
        known = {entry.name for entry in table.entries}
        for estimates in self.find_estimates([task.reference for task in others]):
            for one in self.evaluations[estimates.task]:
                if one.model.slug not in known:
                    known.add(one.model.slug)
                    added.append((one, estimates.estimates[one.model.slug], others[estimates.task]))
        return table.show_beside(added) if added else table


def _narrow(evaluation: Evaluation, beside: Beside) -> Evaluation:
    """The evaluation as it is on the items that were not left out; to be shown, never saved."""
    narrowed = copy(evaluation)
    narrowed.count, narrowed.failed, narrowed.left_out = beside.count, beside.failed, beside.left_out
    narrowed.episodes = beside.episodes
    return narrowed


@dataclass(frozen=True)
class BoardContent:
    """A board as it stands: one table per task."""

    board: Board
    tables: Tables
    baseline: str
    """Slug of the model that others are held against; empty when the board names none or it has no score."""
    cleaning: Cleaning | None = None
    """Which items are left out; None when all are shown."""

    def headline(self, reference: str) -> list[str]:
        return write_headline(self.tables[reference], self.baseline)


def read_board(board: Board, *, baseline: str = "", clean: Clean = Clean.ALL) -> BoardContent:
    """Tables of all tasks. `baseline` replaces the board's own for one look, `clean` leaves items out."""
    evaluations = latest_evaluations(board)
    cleaning = find_cleaning(evaluations, clean) if clean else None
    tables = Tables(evaluations, cleaning)
    wanted = baseline or (board.baseline.slug if board.baseline else "")
    return BoardContent(board, tables, wanted if wanted in tables.models() else "", cleaning)


def describe_board(content: BoardContent) -> list[dict[str, Any]]:
    """The tables as plain values, verdicts and sentences included, so that no client works them out again."""
    return [_describe_table(table, content) for table in content.tables.build_all()]


def _describe_table(table: Table, content: BoardContent) -> dict[str, Any]:
    unit = unit_of(table.task)
    judged = calibrate_table(table)
    return {
        "task": table.task.reference,
        "task_sha256": table.task.sha256,
        "metric": table.task.definition["metric"],
        "higher_is_better": table.task.higher_is_better,
        "headline": content.headline(table.task.reference),
        "note": ONE_RUN_EACH,
        **({"clean": describe_cleaning(content.cleaning, table.task)} if content.cleaning else {}),
        "judging": describe_calibration(judged),
        "models": describe_models(table, judged),
        "comparisons": [
            {
                "a": a,
                "b": b,
                "delta": one.delta,
                "low": one.low,
                "high": one.high,
                "p": one.p,
                "p_adjusted": one.p_adjusted,
                "chance_better": one.chance,
                "comparisons_in_family": one.family,
                "method": one.method,
                "items": one.count,
                "clusters": one.clusters,
                "only_a": one.only_a,
                "only_b": one.only_b,
                "verdict": one.verdict.value,
                "withheld": one.withheld.value if one.withheld else None,
                "items_needed": one.needed,
                "detectable": one.detectable,
                "sentence": word_verdict(one, a, b, unit=unit.name, scale=unit.scale),
            }
            for (a, b), one in table.comparisons.items()
        ],
    }


def calibrate_table(table: Table) -> Calibration | None:
    """None of a task that no model judges."""
    return calibrate_task(table.task, [entry.evaluation for entry in table.entries])


def describe_models(table: Table, judged: Calibration | None = None) -> list[dict[str, Any]]:
    """Each model of a table as plain values, unrounded. `judged`: what people say of the judge."""
    return [
        {
            "model": entry.name,
            "evaluation": entry.evaluation.pk,
            "estimate": entry.estimate.mean,
            "low": entry.estimate.low,
            "high": entry.estimate.high,
            "standard_error": entry.estimate.error,
            "method": entry.estimate.method,
            "items": entry.estimate.count,
            "clusters": entry.estimate.clusters,
            "failed_share": entry.failed_share,
            "left_out": entry.evaluation.left_out,
            "episodes": entry.evaluation.episodes,
            "corpus": {name: asdict(one) for name, one in entry.ratios.items()},
            "rank": list(entry.rank) if entry.rank else None,
            "letters": entry.letters,
            "winner": entry.is_winner,
            "not_compared": entry.not_compared,
            "corrected": describe_correction(judged, entry.evaluation),
        }
        for entry in table.entries
    ]


CELLS = ("both", "only_a", "only_b", "neither")
"""Both right, only A right, only B right, both wrong. For graded scores: equal, A better, B better."""


@dataclass(frozen=True)
class Cross:
    """Items of two evaluations by how both answered."""

    binary: bool
    items: dict[str, list[str]]

    def count(self, cell: str) -> int:
        return len(self.items[cell])


def cross_items(
    a: Evaluation, b: Evaluation, *, higher_is_better: bool, without: frozenset[str] = frozenset()
) -> Cross:
    """Sort the common items into the cells, in the order of the task."""
    found = {pk: one.without(without) for pk, one in read_scores([a.pk, b.pk]).items()}
    scores_a, scores_b = (_scores_by_item(found[one.pk]) for one in (a, b))
    order = Sample.objects.filter(evaluation=a).order_by("id").values_list("item", flat=True)
    common = [item for item in order if item in scores_a and item in scores_b]
    binary = higher_is_better and all(_is_binary(found[one.pk]) for one in (a, b))
    items: dict[str, list[str]] = {cell: [] for cell in CELLS}
    for item in common:
        items[_sort(scores_a[item], scores_b[item], binary=binary, higher_is_better=higher_is_better)].append(item)
    return Cross(binary, items)


def _scores_by_item(one: ItemScores) -> dict[str, float | None]:
    values = zip(one.items, one.values.tolist(), one.asked.tolist(), strict=True)
    return {item: None if math.isnan(value) else value for item, value, asked in values if asked}


def _is_binary(one: ItemScores) -> bool:
    return is_binary(one.values[one.asked & ~np.isnan(one.values)])


def _sort(a: float | None, b: float | None, *, binary: bool, higher_is_better: bool) -> str:
    # An item without a score is worse than any score.
    worst = float("-inf")
    first, second = (worst if score is None else score if higher_is_better else -score for score in (a, b))
    if binary:
        return {(True, True): "both", (True, False): "only_a", (False, True): "only_b", (False, False): "neither"}[
            first > 0, second > 0
        ]
    return "both" if first == second else "only_a" if first > second else "only_b"


def find_samples(
    evaluation: Evaluation,
    *,
    items: list[str] | None = None,
    without: Collection[str] = (),
    failed: bool = False,
    left_out: bool = False,
    words: str = "",
) -> QuerySet[Sample]:
    """Samples in the order of the task, narrowed to items, to failures, to what is no answer, to words in prompt,
    output or target."""
    samples = Sample.objects.filter(evaluation=evaluation).order_by("id")
    if items is not None:
        samples = samples.filter(item__in=items)
    elif without:
        samples = samples.exclude(item__in=without)
    if failed:
        samples = samples.exclude(status__in=["ok", "left_out"])
    if left_out:
        samples = samples.filter(status="left_out")
    for word in words.split():
        samples = samples.filter(
            Q(prompt__icontains=word) | Q(output__icontains=word) | Q(target__icontains=word) | Q(item=word)
        )
    return samples
