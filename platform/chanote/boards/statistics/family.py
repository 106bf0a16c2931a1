"""All comparisons of a view, corrected together and held against different ways of counting failures."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeVar

from chanote.boards.statistics.comparison import Comparison, Verdict, compare, decide
from chanote.boards.statistics.holm import adjust_holm
from chanote.boards.statistics.permutation import RESAMPLES
from chanote.boards.statistics.power import detectable_difference, items_needed


@dataclass(frozen=True)
class Scores:
    """One model's scores by item. Two models are compared on the items that both have."""

    values: Mapping[str, float | None]
    """None where the item could not be scored."""
    failed: frozenset[str] = frozenset()
    """Items whose status is not ok: cut, unparsable or in error, whether they have a score or not."""


Name = TypeVar("Name", bound=Hashable)


def compare_family(
    models: Mapping[Name, Scores],
    *,
    clusters: Mapping[str, Hashable] | None = None,
    margin: float = 0.02,
    higher_is_better: bool = True,
    pairs: Sequence[tuple[Name, Name]] | None = None,
) -> dict[tuple[Name, Name], Comparison]:
    """Compare every pair (in the order of the models), with Holm over all of them.

    The estimate counts an item without a score as wrong (0). A verdict stands only if it is the same when every failed
    item counts as wrong and on the items that both answered. Where less is better, no score stands for wrong, so
    failed items are always dropped.
    """
    chosen = list(pairs if pairs is not None else combinations(models, 2))
    settings = _Settings(clusters, margin, higher_is_better, max(RESAMPLES, 200 * len(chosen)))
    if not higher_is_better:
        return _count_failures(models, _compare_pairs(models, chosen, settings, drop=True))
    shown = _count_failures(models, _compare_pairs(models, chosen, settings, drop=False))
    if not any(model.failed for model in models.values()):
        return shown
    harsh = {name: _mark_wrong(model) for name, model in models.items()}
    strict = _compare_pairs(harsh, chosen, settings, drop=False)
    answered = _compare_pairs(models, chosen, settings, drop=True)
    return {pair: _hold_against(shown[pair], strict[pair], answered[pair]) for pair in chosen}


@dataclass(frozen=True)
class _Settings:
    clusters: Mapping[str, Hashable] | None
    margin: float
    higher_is_better: bool
    resamples: int


def _compare_pairs(
    models: Mapping[Name, Scores], pairs: Sequence[tuple[Name, Name]], settings: _Settings, *, drop: bool
) -> dict[tuple[Name, Name], Comparison]:
    raw = [_compare_pair(models[a], models[b], settings, drop=drop) for a, b in pairs]
    p = adjust_holm([one.p for one in raw if one.p is not None])
    p_equivalence = adjust_holm([one.p_equivalence for one in raw if one.p_equivalence is not None])
    adjusted = iter(zip(p, p_equivalence, strict=True))
    return {
        pair: one if one.p is None else _adjust(one, *next(adjusted), family=len(p))
        for pair, one in zip(pairs, raw, strict=True)
    }


def _compare_pair(a: Scores, b: Scores, settings: _Settings, *, drop: bool) -> Comparison:
    items = [item for item in a.values if item in b.values]
    if drop:
        unusable = a.failed | b.failed
        items = [
            item for item in items if item not in unusable and a.values[item] is not None and b.values[item] is not None
        ]
    clusters = settings.clusters
    return compare(
        [a.values[item] or 0.0 for item in items],
        [b.values[item] or 0.0 for item in items],
        clusters=None if clusters is None else [clusters.get(item, "") for item in items],
        margin=settings.margin,
        higher_is_better=settings.higher_is_better,
        resamples=settings.resamples,
    )


def _adjust(one: Comparison, p: float, p_equivalence: float, *, family: int) -> Comparison:
    assert one.delta is not None
    return replace(
        one,
        p_adjusted=p,
        p_equivalence=p_equivalence,
        family=family,
        detectable=detectable_difference(one.error, family=family) if one.error else None,
        needed=items_needed(one.variance, one.target, family=family) if one.variance else None,
        verdict=decide(one.delta, p, p_equivalence, higher_is_better=one.higher_is_better),
    )


def _count_failures(
    models: Mapping[Name, Scores], shown: dict[tuple[Name, Name], Comparison]
) -> dict[tuple[Name, Name], Comparison]:
    return {
        (a, b): replace(one, failed_a=len(models[a].failed), failed_b=len(models[b].failed))
        for (a, b), one in shown.items()
    }


def _mark_wrong(model: Scores) -> Scores:
    return Scores({item: 0.0 if item in model.failed else value for item, value in model.values.items()}, model.failed)


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
