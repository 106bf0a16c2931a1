"""Rank as an interval: a model's place is only as sure as its comparisons."""

from collections.abc import Mapping, Sequence


def rank_intervals(names: Sequence[str], better: Mapping[str, set[str]]) -> dict[str, tuple[int, int]]:
    """[1 + number surely better, N - number surely worse], where `better[a]` holds what a surely beats."""
    ranks = {}
    for name in names:
        above = sum(name in better.get(other, set()) for other in names)
        below = len(better.get(name, set()) & set(names))
        ranks[name] = (1 + above, len(names) - below)
    return ranks
