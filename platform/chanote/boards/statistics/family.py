"""All comparisons of a view, corrected together and held against different ways of counting failures."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TypeVar

import numpy as np

from chanote.boards.statistics.comparison import Comparison, Verdict, describe_pairs
from chanote.boards.statistics.pairs import examine_pairs
from chanote.boards.statistics.permutation import RESAMPLES
from chanote.boards.statistics.sheet import Failures, Scores, Sheet, lay_out_scores

Name = TypeVar("Name", bound=Hashable)


def compare_family(
    models: Mapping[Name, Scores],
    *,
    clusters: Mapping[str, Hashable] | None = None,
    margin: float = 0.02,
    higher_is_better: bool = True,
    pairs: Sequence[tuple[Name, Name]] | None = None,
) -> dict[tuple[Name, Name], Comparison]:
    """Compare every pair (in the order of the models), with Holm over all of them, as `compare_sheet` does."""
    chosen = list(pairs if pairs is not None else combinations(models, 2))
    rows = {name: row for row, name in enumerate(models)}
    sheet = lay_out_scores(list(models.values()), clusters)
    found = compare_sheet(
        sheet, [(rows[a], rows[b]) for a, b in chosen], margin=margin, higher_is_better=higher_is_better
    )
    return dict(zip(chosen, found, strict=True))


def compare_sheet(
    sheet: Sheet, pairs: Sequence[tuple[int, int]], *, margin: float = 0.02, higher_is_better: bool = True
) -> list[Comparison]:
    """Compare pairs of rows, with Holm over all of them.

    The estimate counts an item without a score as wrong (0). A verdict stands only if it is the same when every failed
    item counts as wrong and on the items that both answered. Where less is better, no score stands for wrong, so
    failed items are always dropped.
    """
    if not pairs:
        return []
    failed = sheet.failed.sum(1).tolist()

    def compare(treatment: Failures) -> list[Comparison]:
        values, counted = sheet.take(treatment)
        sides = np.array(pairs, dtype=np.intp).T
        resamples = max(RESAMPLES, 200 * len(pairs))
        tests = examine_pairs(values, counted, sheet.clusters, (sides[0], sides[1]), margin=margin, resamples=resamples)
        found = describe_pairs(tests, margin=margin, higher_is_better=higher_is_better)
        if not any(failed):
            return found
        return [replace(one, failed_a=failed[a], failed_b=failed[b]) for one, (a, b) in zip(found, pairs, strict=True)]

    if not higher_is_better:
        return compare(Failures.DROPPED)
    shown = compare(Failures.AS_SCORED)
    if not any(failed):
        return shown
    return list(map(_hold_against, shown, compare(Failures.WRONG), compare(Failures.DROPPED)))


def _hold_against(shown: Comparison, strict: Comparison, answered: Comparison) -> Comparison:
    """Take back a verdict that changes when every failure counts as wrong, or on the items that both answered.

    Where fewer than half of the items were answered by both, what is left is a selection: then failing is itself what
    separates the models, the verdict stands and says so.
    """
    if shown.verdict in (Verdict.UNDECIDED, Verdict.UNDEFINED):
        return shown
    most = 2 * answered.count >= shown.count
    if strict.verdict is not shown.verdict or (most and answered.verdict is not shown.verdict):
        return replace(shown, verdict=Verdict.UNDECIDED, withheld=shown.verdict)
    return shown if answered.verdict is shown.verdict else replace(shown, answered=answered.verdict)
