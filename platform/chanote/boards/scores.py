"""The scores of an evaluation as one short blob beside its samples: a table over thousands of answers reads only these.

Items are sorted by name, so that two evaluations of the same items share one `ItemSet` and their columns line up.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chanote.boards.models import Evaluation, ItemSet, Sample

STATUSES = ("ok", "truncated", "unparsable", "error", "left_out")
"""By code; a status is stored as its place here."""
_CODE = {status: code for code, status in enumerate(STATUSES)}
_LEFT_OUT = _CODE["left_out"]

Answer = tuple[str, str, float | None, str]
"""Item, cluster, score, status."""


@dataclass(frozen=True, eq=False)
class ItemScores:
    """One evaluation, by item in the order of its item set."""

    items: Sequence[str]
    clusters: Sequence[str]
    values: NDArray[np.float64]
    """NaN where there is no score."""
    codes: NDArray[np.uint8]

    @property
    def asked(self) -> NDArray[np.bool_]:
        """Answers that count; an item left out, through no fault of the model, does not."""
        return self.codes != _LEFT_OUT

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Cut, unparsable or in error, whether scored or not."""
        return (self.codes != 0) & self.asked

    def without(self, items: Collection[str]) -> "ItemScores":
        """The same without these items."""
        if not items:
            return self
        kept = [place for place, item in enumerate(self.items) if item not in items]
        return ItemScores(
            [self.items[place] for place in kept],
            [self.clusters[place] for place in kept],
            self.values[kept],
            self.codes[kept],
        )


def pair_scores(
    a: ItemScores, b: ItemScores, *, higher_is_better: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Scores of both on the items that count for both, so turned that more is better, and the items' clusters.

    No score counts as wrong (0); where less is better it has no such value, and the item is dropped.
    """
    common = set(a.items) & set(b.items)
    sides, counted = [], []
    for one in (a, b):
        places = [place for place, item in enumerate(one.items) if item in common]
        values = one.values[places]
        counted.append(one.asked[places] & (higher_is_better | ~np.isnan(values)))
        sides.append(np.where(np.isnan(values), 0.0, values) * (1.0 if higher_is_better else -1.0))
    both = counted[0] & counted[1]
    clusters = [cluster for item, cluster in zip(a.items, a.clusters, strict=True) if item in common]
    return sides[0][both], sides[1][both], [clusters[place] for place in np.flatnonzero(both).tolist()]


def sort_answers(answers: Iterable[Answer]) -> ItemScores:
    rows = sorted(answers)
    return ItemScores(
        items=[row[0] for row in rows],
        clusters=[row[1] for row in rows],
        values=np.array([np.nan if row[2] is None else row[2] for row in rows], dtype=np.float64),
        codes=np.array([_CODE[row[3]] for row in rows], dtype=np.uint8),
    )


def keep_scores(evaluation: Any, found: ItemScores, *, sets: Any = ItemSet) -> None:
    """Set item set and blob on the evaluation, which the caller saves. `sets`: the table, in a migration."""
    content = {"items": list(found.items), "clusters": list(found.clusters)}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    evaluation.item_set, _ = sets.objects.get_or_create(task=evaluation.task, sha256=sha256, defaults=content)
    evaluation.scores = found.values.tobytes() + found.codes.tobytes()


def read_scores(evaluations: Sequence[int]) -> dict[int, ItemScores]:
    """By evaluation, in two queries; an evaluation without a blob is read from its samples."""
    rows = list(Evaluation.objects.filter(pk__in=evaluations).values_list("pk", "item_set_id", "scores"))
    sets = {one.pk: one for one in ItemSet.objects.filter(pk__in={row[1] for row in rows if row[1]})}
    found = {}
    for pk, set_pk, blob in rows:
        found[pk] = _read_samples(pk) if set_pk is None or blob is None else _unpack(sets[set_pk], blob)
    return found


def _unpack(items: ItemSet, blob: Any) -> ItemScores:
    data, count = bytes(blob), len(items.items)
    values = np.frombuffer(data, dtype=np.float64, count=count)
    return ItemScores(items.items, items.clusters, values, np.frombuffer(data, dtype=np.uint8, offset=8 * count))


def _read_samples(evaluation: int) -> ItemScores:
    rows = Sample.objects.filter(evaluation=evaluation).values_list("item", "cluster", "score", "status")
    return sort_answers(rows.iterator())
