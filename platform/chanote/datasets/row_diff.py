"""Row by row, what a version has more, less and otherwise than another. Hashes of rows are compared, not texts, so that
a million rows take a fraction of a second; texts are read for the page that is shown."""

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chanote.datasets.features import NoFeatures, hash_line, open_table
from chanote.datasets.models import DatasetVersion
from chanote.datasets.storage import open_lines

if TYPE_CHECKING:
    import numpy

PER_PAGE = 20
KINDS = ("added", "changed", "removed")


@dataclass(frozen=True)
class RowDiff:
    """Pairs of row numbers from 1, in their order; 0 stands for no row: (0, 7) is added, (4, 0) removed."""

    pairs: "numpy.ndarray[Any, Any]"
    kept: int

    @property
    def counts(self) -> dict[str, int]:
        return {kind: int(self._select(kind).sum()) for kind in KINDS}

    def _select(self, kind: str) -> Any:
        old, new = self.pairs[:, 0], self.pairs[:, 1]
        return {"added": old == 0, "removed": new == 0, "changed": (old > 0) & (new > 0)}[kind]

    def page(self, kind: str, start: int, size: int = PER_PAGE) -> tuple[list[tuple[int, int]], int]:
        """Pairs of one kind, or of all, and how many there are."""
        chosen = self.pairs[self._select(kind)] if kind in KINDS else self.pairs
        return [(int(old), int(new)) for old, new in chosen[start : start + size]], len(chosen)


def compare_rows(old: DatasetVersion, new: DatasetVersion) -> RowDiff:
    """A row that stands where another stood, between the same kept rows, is that row changed.

    Equal rows count as often as they occur. Moving a row takes it out in one place and puts it into another only where
    its content is compared with nothing equal: order alone is no difference.
    """
    import numpy

    before, after = (number_copies(read_hashes(version)) for version in (old, new))
    kept_before, kept_after = find_common(before, after)
    gone, come = numpy.flatnonzero(~kept_before), numpy.flatnonzero(~kept_after)
    # The gap that a row lies in: how many kept rows stand before it.
    gap_gone, gap_come = numpy.cumsum(kept_before)[gone], numpy.cumsum(kept_after)[come]
    # Of the rows that went and those that came in one gap the first go together, then the second, and so on.
    most = max(len(before), len(after)) + 1
    key_gone, key_come = gap_gone * most + rank_in(gap_gone), gap_come * most + rank_in(gap_come)
    keys = numpy.union1d(key_gone, key_come)
    pairs = numpy.zeros((len(keys), 2), dtype=numpy.int64)
    pairs[keys.searchsorted(key_gone), 0] = gone + 1
    pairs[keys.searchsorted(key_come), 1] = come + 1
    return RowDiff(pairs, int(kept_before.sum()))


def rank_in(groups: "numpy.ndarray[Any, Any]") -> "numpy.ndarray[Any, Any]":
    """The place of each entry within its group, from 0; the groups are sorted."""
    import numpy

    place = numpy.arange(len(groups))
    fresh = numpy.ones(len(groups), dtype=bool)
    fresh[1:] = groups[1:] != groups[:-1]
    return place - numpy.maximum.accumulate(numpy.where(fresh, place, 0)) if len(groups) else place


def read_hashes(version: DatasetVersion) -> "numpy.ndarray[Any, Any]":
    """64 bits of each row: from the table beside the rows, or from the rows themselves."""
    import numpy

    try:
        return open_table(version, ["hash"])["hash"].to_numpy()
    except NoFeatures:
        return numpy.fromiter(map(hash_line, open_lines(version)), dtype=numpy.uint64, count=version.rows)


def find_common(
    one: "numpy.ndarray[Any, Any]", other: "numpy.ndarray[Any, Any]"
) -> tuple["numpy.ndarray[Any, Any]", "numpy.ndarray[Any, Any]"]:
    """Which entries of each are in the other. Both are sorted and walked along each other, which the caches like."""
    import numpy

    orders = numpy.argsort(one), numpy.argsort(other)
    ranked = one[orders[0]], other[orders[1]]
    kept = []
    for order, mine, theirs in ((orders[0], *ranked), (orders[1], *ranked[::-1])):
        place = numpy.minimum(theirs.searchsorted(mine), max(len(theirs) - 1, 0))
        common = numpy.zeros(len(mine), dtype=bool)
        if len(theirs):
            common[order] = theirs[place] == mine
        kept.append(common)
    return kept[0], kept[1]


def number_copies(hashes: "numpy.ndarray[Any, Any]") -> "numpy.ndarray[Any, Any]":
    """The second of equal rows gets another hash, the third yet another: so that each counts once."""
    import numpy

    ordered = numpy.sort(hashes)
    repeated = numpy.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(repeated):
        return hashes
    # Only rows that have a copy are looked at again, in the order in which they stand.
    copied = numpy.flatnonzero(find_common(hashes, repeated)[0])
    order = copied[numpy.argsort(hashes[copied], kind="stable")]
    numbered = hashes.copy()
    numbered[order] ^= rank_in(hashes[order]).astype(numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)
    return numbered


def read_rows_at(version: DatasetVersion, numbers: list[int]) -> dict[int, dict[str, Any]]:
    """Rows by their numbers, each read from its place in the file."""
    return {number: json.loads(next(open_lines(version, number - 1, number))) for number in numbers if number}


def list_texts(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Every field of a row as a name and a text, messages one by one."""
    texts: list[tuple[str, str]] = []
    for name, value in row.items():
        if name == "messages" and isinstance(value, list):
            texts += [(f"{one['role']} {place}", _spell_turn(one)) for place, one in enumerate(value, start=1)]
        elif isinstance(value, list) and all(isinstance(one, str) for one in value):
            texts += [(f"{name} {place}", one) for place, one in enumerate(value, start=1)]
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
            texts.append((name, text))
    return texts


def _spell_turn(turn: dict[str, Any]) -> str:
    rest = {name: value for name, value in turn.items() if name not in ("role", "content")}
    spoken = turn.get("content") or ""
    return f"{spoken}\n{json.dumps(rest, ensure_ascii=False, sort_keys=True)}".strip() if rest else spoken


def pair_texts(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name, old text and new text of every field that differs."""
    old, new = list_texts(before), list_texts(after)
    names = dict.fromkeys(itertools.chain((name for name, _ in old), (name for name, _ in new)))
    olds, news = dict(old), dict(new)
    return [(name, olds.get(name, ""), news.get(name, "")) for name in names if olds.get(name) != news.get(name)]
