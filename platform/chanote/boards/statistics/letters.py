"""Compact letter display: two models share a letter exactly when they are not separated."""

from collections.abc import Collection, Sequence
from string import ascii_lowercase


def display_letters(names: Sequence[str], separated: Collection[frozenset[str]]) -> dict[str, str]:
    """Letters by the insert-and-absorb method (Piepho 2004), `a` first in the order of the names.

    Start with one column that holds everyone. Each separated pair splits every column that holds both in two, without
    the one or without the other; a column within another is absorbed.
    """
    columns = [frozenset(names)]
    for pair in separated:
        split: list[frozenset[str]] = []
        for column in columns:
            split += [column - {name} for name in pair] if pair <= column else [column]
        columns = _absorb(split)
    columns.sort(key=lambda column: sorted(names.index(name) for name in column))
    return {name: "".join(_letter(place) for place, column in enumerate(columns) if name in column) for name in names}


def _absorb(columns: Sequence[frozenset[str]]) -> list[frozenset[str]]:
    unique = list(dict.fromkeys(columns))
    return [column for column in unique if not any(column < other for other in unique)]


def _letter(place: int) -> str:
    """a to z, then a2 to z2, and so on."""
    round_, within = divmod(place, len(ascii_lowercase))
    return ascii_lowercase[within] + (str(round_ + 1) if round_ else "")
