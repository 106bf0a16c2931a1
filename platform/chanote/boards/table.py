"""A board's table: estimates, places and comparisons of models on one task, ready to be shown or serialised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chanote.boards.models import Evaluation, Task
from chanote.boards.standings import Standings
from chanote.boards.statistics import Comparison, Estimate, Verdict, display_letters, rank_intervals


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
    is_winner: bool
    """Surely better than every other model of the table, all comparisons corrected together."""
    ratios: Mapping[str, Estimate]
    """Numbers of the whole corpus that are no means, with their own intervals."""

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

    def show_beside(self, others: Sequence[tuple[Evaluation, Estimate, str]]) -> "Table":
        """With further models below all others, each with the reason why it is not compared."""
        added = [
            Entry(one, estimate, one.failed / max(1, one.count), None, "", reason, is_winner=False, ratios={})
            for one, estimate, reason in others
        ]
        return replace(self, entries=(*self.entries, *added))

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


def build_table(task: Task, evaluations: Sequence[Evaluation], found: Standings) -> Table:
    """Put evaluations of one task, one per model, in order, with ranks and letters from their comparisons."""
    by_pk = {evaluation.pk: evaluation for evaluation in evaluations}
    slugs = {pk: evaluation.model.slug for pk, evaluation in by_pk.items()}
    order = sorted(by_pk, key=lambda pk: _place(found.estimates[pk], higher_is_better=task.higher_is_better))
    compared = [pk for pk in order if not found.not_compared[pk]]
    better: dict[str, set[str]] = {}
    for (a, b), one in found.comparisons.items():
        if one.verdict is Verdict.A_BETTER:
            better.setdefault(slugs[a], set()).add(slugs[b])
        elif one.verdict is Verdict.B_BETTER:
            better.setdefault(slugs[b], set()).add(slugs[a])
    names = [slugs[pk] for pk in compared]
    ranks = rank_intervals(names, better)
    letters = display_letters(names, {frozenset((a, b)) for a, worse in better.items() for b in worse})
    entries = tuple(
        Entry(
            evaluation=by_pk[pk],
            estimate=found.estimates[pk],
            failed_share=by_pk[pk].failed / max(1, by_pk[pk].count),
            rank=ranks.get(slugs[pk]),
            letters=letters.get(slugs[pk], ""),
            not_compared=found.not_compared[pk],
            is_winner=len(names) > 1 and len(better.get(slugs[pk], ())) == len(names) - 1,
            ratios=found.beside[pk].ratios,
        )
        for pk in order
    )
    above = {pk: place for place, pk in enumerate(order)}
    turned = {
        (slugs[a], slugs[b]) if above[a] < above[b] else (slugs[b], slugs[a]): (
            one if above[a] < above[b] else one.turned()
        )
        for (a, b), one in found.comparisons.items()
    }
    return Table(task, entries, turned)


def _place(estimate: Estimate, *, higher_is_better: bool) -> tuple[bool, float]:
    mean = estimate.mean
    if mean is None:
        return True, 0.0
    return False, -mean if higher_is_better else mean
