"""Items that stand in what a model of the board was trained on, so that they can be left out for every model alike.

What a model's data hold is told by the check of overlap (docs/checks.md). Where no check was made nothing is known:
then nothing is left out on that model's account, and the board says "not checked", never "clean".
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chanote.boards.models import Evaluation, ItemSet, Task
from chanote.boards.training_data import trace_data
from chanote.checks.selectors import find_clean_items_of
from chanote.datasets.models import DatasetVersion


class Clean(StrEnum):
    """Which items of a board are left out."""

    ALL = ""
    QUESTIONS = "questions"
    """Those whose question or answer is in training data."""
    SOURCES = "sources"
    """Those too whose law or passage is: as a rule that is wanted."""


WORDS = {
    Clean.ALL: "all items",
    Clean.QUESTIONS: "without items whose question or answer is in training data",
    Clean.SOURCES: "without those, and without items whose law or passage is in training data",
}


@dataclass(frozen=True)
class Holding:
    """What one version holds of a task."""

    version: DatasetVersion
    question: int
    """Items of which it holds question or answer."""
    source: int
    is_own: bool = False
    """The version is what the task itself asks from: every item is held."""


@dataclass(frozen=True)
class TaskOverlap:
    """Which items of a task some model of the board may have seen."""

    items: tuple[str, ...]
    question: frozenset[str]
    source: frozenset[str]
    untold: int
    """Items too short to tell."""
    holdings: tuple[Holding, ...]
    """Of the versions that were checked."""
    unchecked: tuple[DatasetVersion, ...]

    def left_out(self, clean: Clean) -> frozenset[str]:
        if clean is Clean.ALL:
            return frozenset()
        return self.question | self.source if clean is Clean.SOURCES else self.question


@dataclass(frozen=True)
class Cleaning:
    """What a board leaves out, and what is not known."""

    clean: Clean
    tasks: Mapping[Task, TaskOverlap]
    learners: Mapping[int, tuple[str, ...]]
    """Models of the board that learned from a version, by version."""
    lost: Mapping[str, tuple[str, ...]]
    """Models that learned from data which is not here any more, by the name of the data."""
    outside: Mapping[str, tuple[str, ...]]
    """Models of the board that are or come from one which was not trained here, by the name of that one."""

    def left_out(self, task: Task) -> frozenset[str]:
        return self.tasks[task].left_out(self.clean)

    @property
    def is_checked(self) -> bool:
        """Whether any data was held against any task."""
        return any(one.holdings for one in self.tasks.values())

    @property
    def unchecked(self) -> list[DatasetVersion]:
        """Versions that were not held against every task, each once."""
        return list({one.pk: one for told in self.tasks.values() for one in told.unchecked}.values())


def read_clean(text: str) -> Clean | None:
    """None for anything that is no such choice."""
    return Clean(text) if text in list(Clean) else None


def find_cleaning(evaluations: Mapping[Task, Sequence[Evaluation]], clean: Clean) -> Cleaning:
    """What the checks say of the items of every task and of the data of every model shown on any of them."""
    models = {one.model_id: one.model for found in evaluations.values() for one in found}
    learned = trace_data(models.values())
    versions = {pk: version for one in learned.values() for pk, version in one.versions.items()}
    tasks = list(evaluations)
    told = find_clean_items_of(tasks, list(versions.values()))
    items = _list_items(evaluations)
    own = DatasetVersion.objects.in_bulk({task.dataset_version_id for task in tasks if task.dataset_version_id})
    overlaps = {}
    for task in tasks:
        question: set[str] = set()
        source: set[str] = set()
        untold: set[str] = set()
        holdings, unchecked = [], []
        for pk, version in versions.items():
            if task.dataset_version_id in own and version.sha256 == own[task.dataset_version_id].sha256:
                question |= set(items[task])
                holdings.append(Holding(version, len(items[task]), 0, is_own=True))
                continue
            found = told[task][pk]
            if found.unchecked:
                unchecked.append(version)
                continue
            held, sources = find_items(items[task], found.held), find_items(items[task], found.source)
            holdings.append(Holding(version, len(held), len(sources)))
            question |= held
            source |= sources
            untold |= find_items(items[task], found.untold)
        overlaps[task] = TaskOverlap(
            tuple(items[task]), frozenset(question), frozenset(source), len(untold), tuple(holdings), tuple(unchecked)
        )
    return Cleaning(
        clean,
        overlaps,
        {
            version: tuple(sorted(models[pk].slug for pk, one in learned.items() if version in one.versions))
            for version in versions
        },
        _turn({models[pk].slug: one.lost for pk, one in learned.items()}),
        _turn({models[pk].slug: one.outside for pk, one in learned.items()}),
    )


def _turn(named: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for model in sorted(named):
        for name in named[model]:
            found.setdefault(name, []).append(model)
    return {name: tuple(found[name]) for name in sorted(found)}


def _list_items(evaluations: Mapping[Task, Sequence[Evaluation]]) -> dict[Task, list[str]]:
    """Every item that a model of the board was asked, by task."""
    sets = ItemSet.objects.in_bulk({one.item_set_id for found in evaluations.values() for one in found})
    listed = {}
    for task, found in evaluations.items():
        known = {one.item_set_id for one in found if one.item_set_id}
        listed[task] = list(dict.fromkeys(item for pk in sorted(known) for item in sets[pk].items))
    return listed


def find_items(items: Iterable[str], rows: Collection[str]) -> set[str]:
    """Items that ask one of the rows. A repeat extends the row's name by `#3`, a part of an answer by `/part`."""
    if not rows:
        return set()
    found = set()
    for item in items:
        whole = item.rpartition("/")[0]
        if any(name in rows for name in (item, item.rpartition("#")[0], whole, whole.rpartition("#")[0]) if name):
            found.add(item)
    return found


def describe_cleaning(cleaning: Cleaning, task: Task) -> dict[str, Any]:
    """Of one task as plain values."""
    told = cleaning.tasks[task]
    return {
        "clean": cleaning.clean.value,
        "checked": bool(told.holdings) and not told.unchecked and not cleaning.lost,
        "items": len(told.items),
        "left_out": len(cleaning.left_out(task)),
        "question_held": len(told.question),
        "source_held": len(told.source),
        "too_short_to_tell": told.untold,
        "checks": [
            {
                "dataset": one.version.reference,
                "question_held": one.question,
                "source_held": one.source,
                "own_rows": one.is_own,
                "models": list(cleaning.learners[one.version.pk]),
            }
            for one in told.holdings
        ],
        "not_checked": [
            {"dataset": one.reference, "models": list(cleaning.learners[one.pk])} for one in told.unchecked
        ],
        "data_gone": [{"dataset": name, "models": list(models)} for name, models in cleaning.lost.items()],
        "data_unknown": [{"model": name, "models": list(models)} for name, models in cleaning.outside.items()],
    }


def word_cleaning(cleaning: Cleaning, task: Task) -> str:
    """One sentence: what was left out of the task, and why."""
    told = cleaning.tasks[task]
    count = len(cleaning.left_out(task))
    if not told.holdings:
        return "Not checked: no data of these models was held against this task, so nothing is left out."
    parts = [f"{len(told.question):,} whose question or answer is in training data"]
    if cleaning.clean is Clean.SOURCES:
        parts.append(f"{len(told.source - told.question):,} more whose law or passage is")
    words = f"{count:,} of {len(told.items):,} items are left out: {', '.join(parts)}."
    if told.unchecked:
        names = ", ".join(one.reference for one in told.unchecked)
        words += f" Not checked: {names}."
    return words
