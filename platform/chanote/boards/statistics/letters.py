"""Compact letter display: two models share a letter exactly when they are not separated."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from string import ascii_lowercase


def display_letters(names: Sequence[str], separated: Collection[frozenset[str]]) -> dict[str, str]:
    """Letters per model, `a` first in the order of the names.

    A letter stands for a largest possible group of models none of which is separated from another (Piepho 2004): the
    maximal cliques of the graph whose edges join models that are not separated.
    """
    level = {
        name: {other for other in names if other != name and frozenset((name, other)) not in separated}
        for name in names
    }
    groups = sorted(_find_cliques(set(), set(names), set(), level), key=lambda group: sorted(map(names.index, group)))
    return {name: "".join(_letter(place) for place, group in enumerate(groups) if name in group) for name in names}


def _find_cliques(
    clique: set[str], candidates: set[str], done: set[str], level: Mapping[str, set[str]]
) -> Iterator[set[str]]:
    """Bron and Kerbosch 1973, with the pivot that leaves fewest branches."""
    if not candidates and not done:
        if clique:
            yield clique
        return
    pivot = max(candidates | done, key=lambda name: len(candidates & level[name]))
    for name in sorted(candidates - level[pivot]):
        yield from _find_cliques(clique | {name}, candidates & level[name], done & level[name], level)
        candidates = candidates - {name}
        done = done | {name}


def _letter(place: int) -> str:
    """a to z, then a2 to z2, and so on."""
    round_, within = divmod(place, len(ascii_lowercase))
    return ascii_lowercase[within] + (str(round_ + 1) if round_ else "")
