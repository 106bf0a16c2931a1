"""Numbers of a whole corpus beside the score: ratios of sums over all items, of metrics that have such."""

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from chanote.boards.models import Sample, Task
from chanote.boards.statistics import Estimate
from chanote.boards.statistics.ratio import estimate_ratio

Parts = Mapping[str, tuple[float, float]]
"""What one item adds to the upper and to the lower sum of each ratio."""


def read_ratios(
    task: Task, evaluations: Sequence[int], *, without: Collection[str] = ()
) -> dict[int, dict[str, Estimate]]:
    """By evaluation and name; empty for metrics whose numbers are all means. Items that the metric could not count
    anything in (an error, a judge that failed) add to neither sum."""
    read = READERS.get(task.definition["metric"])
    if read is None:
        return {}
    options = task.definition.get("metric_options") or {}
    found: dict[int, list[tuple[str, Parts]]] = defaultdict(list)
    samples = Sample.objects.filter(evaluation__in=evaluations).exclude(status="left_out").order_by("id")
    for evaluation, item, cluster, target, detail in samples.values_list(
        "evaluation_id", "item", "cluster", "target", "detail"
    ).iterator():
        parts = None if item in without else read(detail, target, options)
        if parts is not None:
            found[evaluation].append((cluster, parts))
    return {pk: _estimate(rows) for pk, rows in found.items()}


def _estimate(rows: Sequence[tuple[str, Parts]]) -> dict[str, Estimate]:
    clusters = [cluster for cluster, _ in rows]
    return {
        name: estimate_ratio([one[name][0] for _, one in rows], [one[name][1] for _, one in rows], clusters=clusters)
        for name in rows[0][1]
    }


def _count_citations(detail: Mapping[str, Any], target: str, options: Mapping[str, Any]) -> Parts | None:
    if not all(name in detail for name in ("met", "cited", "right")):
        return None
    met, cited, right = (float(detail[name]) for name in ("met", "cited", "right"))
    precision, recall = (met, cited), (met, right)
    if options.get("compat") == "nitibench":
        precision, recall = recall, precision
    return {"corpus precision": precision, "corpus recall": recall, "corpus F1": (2 * met, cited + right)}


def _count_slots(detail: Mapping[str, Any], target: str, options: Mapping[str, Any]) -> Parts | None:
    if not all(name in detail for name in ("right", "written", "wanted")):
        return None
    right, written, wanted = (float(detail[name]) for name in ("right", "written", "wanted"))
    return {
        "slot precision": (right, written),
        "slot recall": (right, wanted),
        "slot F1": (2 * right, written + wanted),
    }


def _count_bits(detail: Mapping[str, Any], target: str, options: Mapping[str, Any]) -> Parts | None:
    if "loglikelihood" not in detail:
        return None
    return {"corpus bits per byte": (-float(detail["loglikelihood"]) / math.log(2), float(len(target.encode())))}


READERS = {"citations": _count_citations, "intent_slots": _count_slots, "perplexity": _count_bits}
"""By metric. Each gives None for an item without the counts."""
