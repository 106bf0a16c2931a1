"""Recipes held against each other on a board's tasks: the unit is the training run, and runs differ by their seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from chanote.boards.models import Board, Evaluation, Task
from chanote.boards.scores import read_scores
from chanote.boards.standings import find_standings
from chanote.boards.statistics.holm import adjust_holm
from chanote.boards.statistics.power import LEVEL
from chanote.boards.statistics.seeds import FEWEST_SEEDS, RecipeComparison, compare_recipes, seeds_needed
from chanote.boards.statistics.wording import PERCENT_95, word_number, word_p
from chanote.boards.table import unit_of


@dataclass(frozen=True)
class RecipeRuns:
    """One recipe revision on one task: the last scored checkpoint of each seed."""

    name: str
    runs: tuple[tuple[int, int, str, float], ...]
    """Number of the run, seed, model, mean score."""
    mean: float
    spread: float | None
    """Standard deviation between runs; None of a single one."""
    number: str
    spread_number: str

    @property
    def enough(self) -> bool:
        return len(self.runs) >= FEWEST_SEEDS


@dataclass(frozen=True)
class RecipePair:
    a: str
    b: str
    found: RecipeComparison
    p: float
    """After Holm over all pairs shown."""
    verdict: str
    delta: str
    sentence: str


@dataclass(frozen=True)
class RecipesOnTask:
    task: Task
    symbol: str
    recipes: tuple[RecipeRuns, ...]
    pairs: tuple[RecipePair, ...]


def compare_board_recipes(board: Board) -> list[RecipesOnTask]:
    """Of every task on which a run was scored; tasks with most recipes that have enough seeds first."""
    found = []
    by_task = _last_of_each_seed(board)
    standings = find_standings(by_task, whole=False)
    for task, evaluations in by_task.items():
        means = {one.pk: standings[task].estimates[one.pk].mean for one in evaluations}
        recipes = _gather(task, evaluations, means)
        found.append(RecipesOnTask(task, unit_of(task).symbol, recipes, _compare(task, recipes)))
    return sorted(found, key=lambda one: (-sum(recipe.enough for recipe in one.recipes), one.task.reference))


def _last_of_each_seed(board: Board) -> dict[Task, list[Evaluation]]:
    """The evaluation at the last step of each seed of a recipe revision; of several runs with one seed the newest."""
    newest: dict[tuple[int, Any, int], Evaluation] = {}
    rows = board.evaluations.filter(run__isnull=False).defer("scores")
    for one in rows.select_related("task", "model", "run__revision__recipe").order_by("run__created", "step", "pk"):
        assert one.run is not None
        newest[one.task_id, one.run.revision_id, one.run.seed] = one
    by_task: dict[Task, list[Evaluation]] = {}
    for one in newest.values():
        by_task.setdefault(one.task, []).append(one)
    return {task: _with_same_items(found) for task, found in by_task.items()}


def _with_same_items(evaluations: list[Evaluation]) -> list[Evaluation]:
    """Those that answered the items that most answered; means over other items are of another thing."""
    items = {pk: tuple(one.items) for pk, one in read_scores([one.pk for one in evaluations]).items()}
    usual = max(set(items.values()), key=lambda one: (list(items.values()).count(one), len(one)))
    return [one for one in evaluations if items[one.pk] == usual]


def _gather(task: Task, evaluations: Sequence[Evaluation], means: dict[int, float | None]) -> tuple[RecipeRuns, ...]:
    runs: dict[str, list[tuple[int, int, str, float]]] = {}
    for one in evaluations:
        mean = means[one.pk]
        if mean is not None and one.run is not None:
            runs.setdefault(str(one.run.revision), []).append((one.run.number, one.run.seed, one.model.slug, mean))
    scale = unit_of(task).scale
    found = []
    for name, rows in runs.items():
        values = [row[3] for row in rows]
        mean = sum(values) / len(values)
        spread = None
        if len(values) > 1:
            spread = (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5
        error = None if spread is None else spread / len(values) ** 0.5
        told = "" if spread is None else word_number(spread, spread, scale=scale)
        found.append(RecipeRuns(name, tuple(rows), mean, spread, word_number(mean, error, scale=scale), told))
    return tuple(sorted(found, key=lambda one: -one.mean if task.higher_is_better else one.mean))


def _compare(task: Task, recipes: Sequence[RecipeRuns]) -> tuple[RecipePair, ...]:
    chosen = [one for one in recipes if one.enough]
    pairs = [
        (a, b, compare_recipes([row[3] for row in a.runs], [row[3] for row in b.runs]))
        for a, b in combinations(chosen, 2)
    ]
    if not pairs:
        return ()
    corrected = adjust_holm([found.p for _, _, found in pairs])
    return tuple(_word(task, a, b, found, float(p)) for (a, b, found), p in zip(pairs, corrected, strict=True))


def _word(task: Task, a: RecipeRuns, b: RecipeRuns, found: RecipeComparison, p: float) -> RecipePair:
    unit = unit_of(task)
    error = (found.high - found.low) / 4
    delta, low, high = (
        word_number(value, error, scale=unit.scale, sign=True) for value in (found.delta, found.low, found.high)
    )
    facts = f"{PERCENT_95} interval {low} to {high}, corrected {word_p(p)}, {found.seeds[0]} and {found.seeds[1]} runs"
    if p < LEVEL and found.delta != 0:
        a_better = (found.delta > 0) == task.higher_is_better
        better, worse = (a, b) if a_better else (b, a)
        size = word_number(abs(found.delta), error, scale=unit.scale)
        sentence = f"{better.name} is the better recipe than {worse.name}, by {size} {unit.name} ({facts})."
        return RecipePair(a.name, b.name, found, p, "a_better" if a_better else "b_better", delta, sentence)
    margin = float(task.definition["x_stats"]["equivalence_margin"])
    target = max(abs(found.delta), margin)
    spread = max(found.spread)
    need = ""
    if spread > 0 and (runs := seeds_needed(spread, target)) > min(found.seeds):
        size = word_number(target, error, scale=unit.scale)
        need = f"; about {runs} runs of each would be needed to find a difference of {size} {unit.name}"
    sentence = f"Undecided: the seeds do not separate {a.name} and {b.name} (\u0394 {delta}, {facts}){need}."
    return RecipePair(a.name, b.name, found, p, "undecided", delta, sentence)
