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
    kept_before, kept_after = numpy.isin(before, after), numpy.isin(after, before)
    gone, come = numpy.flatnonzero(~kept_before), numpy.flatnonzero(~kept_after)
    # The gap that a row lies in: how many kept rows stand before it.
    gap_gone, gap_come = numpy.cumsum(kept_before)[gone], numpy.cumsum(kept_after)[come]
    pairs: list[tuple[int, int, int]] = []
    i = j = 0
    while i < len(gone) and j < len(come):
        if gap_gone[i] == gap_come[j]:
            pairs.append((int(gap_gone[i]), int(gone[i]) + 1, int(come[j]) + 1))
            i, j = i + 1, j + 1
        elif gap_gone[i] < gap_come[j]:
            pairs.append((int(gap_gone[i]), int(gone[i]) + 1, 0))
            i += 1
        else:
            pairs.append((int(gap_come[j]), 0, int(come[j]) + 1))
            j += 1
    rest = numpy.array([(old_row, new_row) for _, old_row, new_row in pairs], dtype=numpy.int64).reshape(-1, 2)
    ends = [
        numpy.column_stack([gone[i:] + 1, numpy.zeros(len(gone) - i, dtype=numpy.int64)]),
        numpy.column_stack([numpy.zeros(len(come) - j, dtype=numpy.int64), come[j:] + 1]),
    ]
    return RowDiff(numpy.concatenate([rest, *ends]), int(kept_before.sum()))


def read_hashes(version: DatasetVersion) -> "numpy.ndarray[Any, Any]":
    """64 bits of each row: from the table beside the rows, or from the rows themselves."""
    import numpy

    try:
        return open_table(version, ["hash"])["hash"].to_numpy()
    except NoFeatures:
        return numpy.fromiter(map(hash_line, open_lines(version)), dtype=numpy.uint64, count=version.rows)


def number_copies(hashes: "numpy.ndarray[Any, Any]") -> "numpy.ndarray[Any, Any]":
    """The second of equal rows gets another hash, the third yet another: so that each counts once."""
    import numpy

    order = numpy.argsort(hashes, kind="stable")
    ordered = hashes[order]
    fresh = numpy.ones(len(ordered), dtype=bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    place = numpy.arange(len(ordered))
    copy = place - numpy.maximum.accumulate(numpy.where(fresh, place, 0))
    numbered = hashes.copy()
    numbered[order] ^= copy.astype(numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)
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
