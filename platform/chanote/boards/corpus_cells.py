"""Numbers of the whole corpus as a board shows them: beside the score, with interval and method."""

from dataclasses import dataclass

from chanote.boards.statistics import Estimate
from chanote.boards.statistics.wording import word_number
from chanote.boards.table import Table


@dataclass(frozen=True)
class CorpusCell:
    value: str
    interval: str
    method: str


@dataclass(frozen=True)
class Corpus:
    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, CorpusCell | None], ...]], ...]
    """Each model with a cell for each name."""
    methods: str
    unit: str


def lay_out_corpus(table: Table) -> Corpus | None:
    """None where the task's numbers are all means."""
    names = tuple(dict.fromkeys(name for entry in table.entries for name in entry.ratios))
    if not names:
        return None
    scale = 100.0 if table.task.higher_is_better else 1.0
    rows = tuple(
        (entry.name, tuple((name, _lay_out(entry.ratios.get(name), scale)) for name in names))
        for entry in table.entries
    )
    methods = dict.fromkeys(one.method for entry in table.entries for one in entry.ratios.values())
    return Corpus(names, rows, "; ".join(methods), "%" if table.task.higher_is_better else "bits per byte")


def _lay_out(one: Estimate | None, scale: float) -> CorpusCell | None:
    if one is None or one.mean is None:
        return None
    value = word_number(one.mean, one.error, scale=scale)
    if one.low is None or one.high is None:
        return CorpusCell(value, "", one.method)
    low, high = (word_number(bound, one.error, scale=scale) for bound in (one.low, one.high))
    return CorpusCell(value, f"{low}\u2013{high}" if "\u2212" not in low + high else f"{low} to {high}", one.method)
