"""The scores of several models on one task as arrays: a row for each model, a column for each item."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from chanote.boards.statistics.clustered import Floats, number_clusters


@dataclass(frozen=True)
class Scores:
    """One model's scores by item. Two models are compared on the items that both have."""

    values: Mapping[str, float | None]
    """None where the item could not be scored."""
    failed: frozenset[str] = frozenset()
    """Items whose status is not ok: cut, unparsable or in error, whether they have a score or not."""


class Failures(StrEnum):
    """What becomes of an answer that failed."""

    AS_SCORED = "as_scored"
    """Its score stands; without one it counts as wrong (0)."""
    WRONG = "wrong"
    """0, whatever its score."""
    DROPPED = "dropped"
    """The item counts for neither model of a pair."""


@dataclass(frozen=True, eq=False)
class Sheet:
    values: Floats
    """(M, n); NaN where there is no score."""
    asked: NDArray[np.bool_]
    """(M, n): the model was asked the item and its answer, scored or not, counts."""
    failed: NDArray[np.bool_]
    """(M, n): the answer was cut, unparsable or in error."""
    clusters: NDArray[np.intp]
    """(n), numbered from 0 without gaps."""

    def take(self, treatment: Failures) -> tuple[Floats, NDArray[np.bool_]]:
        """Scores and which of them count."""
        scored = ~np.isnan(self.values)
        values = np.where(scored & self.asked, self.values, 0.0)
        if treatment is Failures.WRONG:
            values = np.where(self.failed, 0.0, values)
        counted = self.asked & scored & ~self.failed if treatment is Failures.DROPPED else self.asked
        return values, counted


def lay_out_scores(models: Sequence[Scores], clusters: Mapping[str, Hashable] | None = None) -> Sheet:
    """A sheet over all items that any of the models has, in the order in which they come."""
    items: dict[str, int] = {}
    for model in models:
        for item in model.values:
            items.setdefault(item, len(items))
    values = np.full((len(models), len(items)), np.nan)
    asked, failed = (np.zeros(values.shape, dtype=bool) for _ in range(2))
    for row, model in enumerate(models):
        places = [items[item] for item in model.values]
        values[row, places] = [np.nan if score is None else score for score in model.values.values()]
        asked[row, places] = True
        failed[row, [items[item] for item in model.failed if item in items]] = True
    named = None if clusters is None else [clusters.get(item, "") for item in items]
    return Sheet(values, asked, failed, number_clusters(named, len(items)))
