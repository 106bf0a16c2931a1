"""Slices of the items of one task: who answered rightly, what failed and how, and what comes out differently each time.

A slice is chosen after the answers were seen: its counts say where to look, never which model is better.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from django.db.models import Q

from chanote.boards.models import Evaluation, Sample
from chanote.boards.scores import STATUSES, ItemScores, read_scores
from chanote.boards.selectors import CELLS, Cross, cross_items

EXPLORATORY = (
    "Exploratory: a slice is chosen after the answers were seen. Its counts say where to look; verdicts stand on the "
    "board."
)
MARKS = ("flaky", "truncated", "unparsable", "judge_failed", "tool_errors")
"""What happened to an item, of either model; several may hold."""
WORDS = {
    "both": "both right",
    "only_a": "only {a} right",
    "only_b": "only {b} right",
    "neither": "both wrong",
    "flaky": "flaky: differs over samples or seeds",
    "truncated": "truncated: cut at the token limit",
    "unparsable": "unparsable: no answer was found in it",
    "judge_failed": "judge failed",
    "tool_errors": "tool errors",
}
GRADED = {"both": "equal", "only_a": "{a} better", "only_b": "{b} better"}
"""Words where scores are not right or wrong."""


@dataclass(frozen=True)
class Slices:
    """Items by slice, in the order of the task. An item may be in several."""

    items: dict[str, list[str]]
    binary: bool
    a: str
    b: str
    """Empty where one model is looked at alone."""

    def word(self, name: str) -> str:
        known = WORDS if self.binary else WORDS | GRADED
        return known[name].format(a=self.a, b=self.b)

    def count(self) -> list[tuple[str, str, int]]:
        """Name, words and number of items of each slice that can hold something here."""
        return [(name, self.word(name), len(items)) for name, items in self.items.items()]


def find_slices(
    a: Evaluation, b: Evaluation | None, *, higher_is_better: bool, without: frozenset[str] = frozenset()
) -> Slices:
    """Slices of one model's items, or of the items of two."""
    sides = [a] if b is None else [a, b]
    scores = {pk: one.without(without) for pk, one in read_scores([one.pk for one in sides]).items()}
    asked = {item for one in scores.values() for item in one.items}
    order = list(Sample.objects.filter(evaluation=a).order_by("id").values_list("item", flat=True))
    cross = Cross(True, {})
    if b is not None:
        cross = cross_items(a, b, higher_is_better=higher_is_better, without=without)
    names = () if b is None else CELLS if cross.binary else ("only_a", "only_b", "both")
    found = {name: cross.items[name] for name in names}
    tools = _list_tool_errors(sides)
    unserved = _list_unserved(sides)
    marked = {
        "flaky": set().union(*(_list_flaky(one, scores[one.pk]) for one in sides)),
        "truncated": _list_status(scores.values(), "truncated"),
        "unparsable": _list_status(scores.values(), "unparsable"),
        # What is left out and not for want of tools or endpoint is so for want of a judge.
        "judge_failed": {
            item for one in sides for item in _list_status([scores[one.pk]], "left_out") - unserved[one.pk]
        },
        "tool_errors": set().union(*tools.values(), *unserved.values()),
    }
    for name in MARKS:
        found[name] = [item for item in order if item in marked[name] and item in asked]
    return Slices(found, cross.binary, a.model.slug, b.model.slug if b else "")


def _list_status(scores: Iterable[ItemScores], status: str) -> set[str]:
    code = STATUSES.index(status)
    return {one.items[place] for one in scores for place in np.flatnonzero(one.codes == code).tolist()}


def _list_flaky(evaluation: Evaluation, scores: ItemScores) -> set[str]:
    """Items of which samples (`item#2`), or other evaluations of the same model with the same settings, score
    differently."""
    values: dict[str, set[float]] = defaultdict(set)
    names: dict[str, list[str]] = defaultdict(list)
    repeats = int(evaluation.task.definition.get("repeats") or 1) > 1
    for item, value in zip(scores.items, scores.values.tolist(), strict=True):
        base = item.rpartition("#")[0] if repeats else ""
        names[base or item].append(item)
        if value == value:
            values[base or item].add(value)
    others = Evaluation.objects.filter(
        task=evaluation.task_id, model=evaluation.model_id, settings_sha256=evaluation.settings_sha256
    ).exclude(pk=evaluation.pk)
    for other in read_scores(list(others.values_list("pk", flat=True))).values():
        for item, value in zip(other.items, other.values.tolist(), strict=True):
            base = item.rpartition("#")[0] if repeats else ""
            if value == value and (base or item) in names:
                values[base or item].add(value)
    return {item for base, found in values.items() if len(found) > 1 for item in names[base]}


def _list_tool_errors(evaluations: Sequence[Evaluation]) -> dict[int, set[str]]:
    """Items in whose episodes a call failed or could not be made."""
    wrong = Q(episode__tool_errors__gt=0) | Q(episode__malformed_calls__gt=0)
    return _list_episodes(evaluations, wrong)


def _list_unserved(evaluations: Sequence[Evaluation]) -> dict[int, set[str]]:
    """Items that could not be played to their end, since tools or the endpoint failed."""
    return _list_episodes(evaluations, Q(episode__stop_reason="service_failed"))


def _list_episodes(evaluations: Sequence[Evaluation], wanted: Q) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {one.pk: set() for one in evaluations}
    agents = [one.pk for one in evaluations if one.episodes is not None or one.left_out]
    if agents:
        rows = Sample.objects.filter(wanted, evaluation__in=agents, episode__isnull=False)
        for evaluation, item in rows.values_list("evaluation_id", "item"):
            found[evaluation].add(item)
    return found
