"""A board's table: estimates, places and comparisons of models on one task, ready to be shown or serialised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from chanote.boards.models import Evaluation, Sample, Task
from chanote.boards.statistics import (
    Comparison,
    Estimate,
    Scores,
    Verdict,
    compare_family,
    display_letters,
    estimate_mean,
    rank_intervals,
)


@dataclass(frozen=True)
class Unit:
    """How scores of a task are written."""

    name: str
    """As in "better by 3 points"."""
    symbol: str
    """As in a column's head."""
    scale: float


SHARE = Unit("points", "%", 100.0)
BITS = Unit("bits per byte", "bits per byte", 1.0)


def unit_of(task: Task) -> Unit:
    return SHARE if task.higher_is_better else BITS


@dataclass(frozen=True)
class Entry:
    """One model on one task."""

    evaluation: Evaluation
    estimate: Estimate
    failed_share: float
    rank: tuple[int, int] | None
    letters: str
    not_compared: str
    """Why the model is shown without being compared; empty when it is."""

    @property
    def name(self) -> str:
        return self.evaluation.model.slug


@dataclass(frozen=True)
class Table:
    """Entries from best to worst estimate, and every comparison between those that can be compared."""

    task: Task
    entries: tuple[Entry, ...]
    comparisons: Mapping[tuple[str, str], Comparison]
    """By model slugs (a, b), a above b in the table."""

    @property
    def family(self) -> int:
        return max((one.family for one in self.comparisons.values()), default=0)

    def find(self, a: str, b: str) -> Comparison | None:
        """The comparison a less b, whichever way round it is stored."""
        if (a, b) in self.comparisons:
            return self.comparisons[a, b]
        found = self.comparisons.get((b, a))
        return None if found is None else found.turned()

    @property
    def letter_columns(self) -> list[str]:
        return sorted({letter for entry in self.entries for letter in split_letters(entry.letters)}, key=_letter_order)


def split_letters(letters: str) -> list[str]:
    """Single letters of a display such as `ab` or `a2b2`."""
    found: list[str] = []
    for character in letters:
        if character.isdigit():
            found[-1] += character
        else:
            found.append(character)
    return found


def _letter_order(letter: str) -> tuple[int, str]:
    return int(letter[1:] or 1), letter[0]


@dataclass(frozen=True)
class Answers:
    scores: Scores
    clusters: Mapping[str, str]
    left_out: frozenset[str]
    """Items that are no answers, through no fault of the model: not among the scores."""

    @property
    def items(self) -> frozenset[str]:
        """All that were asked."""
        return self.left_out | self.scores.values.keys()


def build_table(task: Task, evaluations: Sequence[Evaluation]) -> Table:
    """Compare evaluations of one task, one per model. A result is kept, as samples never change."""
    key = tuple((evaluation.pk, evaluation.samples_sha256) for evaluation in evaluations)
    margin = float(task.definition["x_stats"]["equivalence_margin"])
    estimates, reasons, comparisons = _compute(key, task.higher_is_better, margin)
    by_key = dict(zip(key, evaluations, strict=True))
    slugs = {one: evaluation.model.slug for one, evaluation in by_key.items()}
    order = sorted(key, key=lambda one: _place(estimates[one], higher_is_better=task.higher_is_better))
    compared = [one for one in order if not reasons[one]]
    better: dict[str, set[str]] = {}
    for (a, b), one in comparisons.items():
        if one.verdict is Verdict.A_BETTER:
            better.setdefault(slugs[a], set()).add(slugs[b])
        elif one.verdict is Verdict.B_BETTER:
            better.setdefault(slugs[b], set()).add(slugs[a])
    names = [slugs[one] for one in compared]
    ranks = rank_intervals(names, better)
    letters = display_letters(names, [frozenset((a, b)) for a, worse in better.items() for b in worse])
    entries = tuple(
        Entry(
            evaluation=by_key[one],
            estimate=estimates[one],
            failed_share=by_key[one].failed / max(1, by_key[one].count),
            rank=ranks.get(slugs[one]),
            letters=letters.get(slugs[one], ""),
            not_compared=reasons[one],
        )
        for one in order
    )
    above = {one: place for place, one in enumerate(order)}
    turned = {
        (slugs[a], slugs[b]) if above[a] < above[b] else (slugs[b], slugs[a]): (
            one if above[a] < above[b] else one.turned()
        )
        for (a, b), one in comparisons.items()
    }
    return Table(task, entries, turned)


def _place(estimate: Estimate, *, higher_is_better: bool) -> tuple[bool, float]:
    mean = estimate.mean
    if mean is None:
        return True, 0.0
    return False, -mean if higher_is_better else mean


_Key = tuple[int, str]


@lru_cache(maxsize=64)
def _compute(
    keys: tuple[_Key, ...], higher_is_better: bool, margin: float
) -> tuple[dict[_Key, Estimate], dict[_Key, str], dict[tuple[_Key, _Key], Comparison]]:
    answers = load_answers([pk for pk, _ in keys])
    by_key = {key: answers[key[0]] for key in keys}
    estimates = {key: _estimate(one, higher_is_better=higher_is_better) for key, one in by_key.items()}
    declared = max((one.items for one in by_key.values()), key=len, default=frozenset())
    reasons = {}
    for key, one in by_key.items():
        missing = len(declared - one.items)
        strange = len(one.items - declared)
        reasons[key] = f"other items: {missing:,} missing, {strange:,} of its own" if missing or strange else ""
    compared = {key: one for key, one in by_key.items() if not reasons[key]}
    clusters = {item: cluster for one in compared.values() for item, cluster in one.clusters.items()}
    comparisons = compare_family(
        {key: one.scores for key, one in compared.items()},
        clusters=clusters,
        margin=margin,
        higher_is_better=higher_is_better,
    )
    return estimates, reasons, comparisons


def load_answers(evaluations: Sequence[int]) -> dict[int, Answers]:
    values: dict[int, dict[str, float | None]] = {pk: {} for pk in evaluations}
    failed: dict[int, set[str]] = {pk: set() for pk in evaluations}
    clusters: dict[int, dict[str, str]] = {pk: {} for pk in evaluations}
    left_out: dict[int, set[str]] = {pk: set() for pk in evaluations}
    rows = Sample.objects.filter(evaluation__in=evaluations).order_by("evaluation_id", "id")
    for pk, item, cluster, score, status in rows.values_list("evaluation_id", "item", "cluster", "score", "status"):
        if status == "left_out":
            left_out[pk].add(item)
            continue
        values[pk][item] = score
        clusters[pk][item] = cluster
        if status != "ok":
            failed[pk].add(item)
    return {
        pk: Answers(Scores(values[pk], frozenset(failed[pk])), clusters[pk], frozenset(left_out[pk]))
        for pk in evaluations
    }


def _estimate(one: Answers, *, higher_is_better: bool) -> Estimate:
    """Items without a score count as 0 where more is better, and are left out where less is."""
    items = [item for item, score in one.scores.values.items() if higher_is_better or score is not None]
    return estimate_mean(
        [one.scores.values[item] or 0.0 for item in items], clusters=[one.clusters[item] for item in items]
    )
