"""What the statistics say of one task's evaluations, worked out once and kept: a page only reads it.

Samples never change, so a standing is good for ever; it is found again by the hash of what went into it.
"""

import hashlib
import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import combinations
from typing import Any

import numpy as np

from chanote.boards.episodes import read_episodes
from chanote.boards.models import Evaluation, Standing, Task
from chanote.boards.passing import estimate_passing
from chanote.boards.ratios import read_ratios
from chanote.boards.scores import ItemScores, read_scores
from chanote.boards.statistics import Comparison, Estimate, Sheet, Verdict, compare_sheet, estimate_mean
from chanote.boards.statistics.clustered import number_clusters

METHODS = 5
"""Raised whenever the statistics change: what was kept before is then worked out anew."""
_KEPT = 20
"""Standings of one task that are kept: boards show different models of it."""

_FIELDS = [field.name for field in fields(Comparison)]


@dataclass(frozen=True)
class Standings:
    """By evaluation."""

    estimates: Mapping[int, Estimate]
    not_compared: Mapping[int, str]
    """Why it is shown without being compared; empty when it is."""
    comparisons: Mapping[tuple[int, int], Comparison]
    """Of every pair that is compared. Empty when only estimates were asked for."""
    beside: Mapping[int, "Beside"]


@dataclass(frozen=True)
class Beside:
    """What stands beside an estimate, of the same items."""

    count: int
    failed: int
    left_out: int
    """Items that tools or a judge failed on."""
    episodes: dict[str, Any] | None
    """Of an agent, where items were left out as not clean; of all items the evaluation has it."""
    ratios: Mapping[str, Estimate]
    """Numbers of the whole corpus that are no means."""


def find_standings(
    tables: Mapping[Task, Sequence[Evaluation]],
    *,
    whole: bool = True,
    against: Collection[int] = (),
    without: Mapping[Task, frozenset[str]] | None = None,
) -> dict[Task, Standings]:
    """Standings of every task in two queries where they are known; what is not known is worked out and kept.

    Not `whole`: only the estimates. `against`: only comparisons with one of these evaluations.
    `without`: items of a task that are left out of everything.
    """
    left_out = {task: (without or {}).get(task, frozenset()) for task in tables}
    keys = {task: _hash(task, found, left_out[task]) for task, found in tables.items()}
    known = Standing.objects.filter(key__in=keys.values())
    rows = dict(known.values_list("key", "estimates"))
    pairs = dict(known.values_list("key", "comparisons")) if whole else {}
    answer = {}
    for task, found in tables.items():
        key = keys[task]
        if key in rows:
            answer[task] = _unpack(rows[key], pairs.get(key), against)
        else:
            answer[task] = compute_standings(task, [one.pk for one in found], without=left_out[task])
            _keep(task, key, answer[task])
    return answer


def compute_standings(task: Task, evaluations: Sequence[int], *, without: frozenset[str] = frozenset()) -> Standings:
    """Estimates of all, comparisons of those that were asked the same items."""
    margin = float(task.definition["x_stats"]["equivalence_margin"])
    scores = {pk: one.without(without) for pk, one in read_scores(evaluations).items()}
    beside = _look_beside(task, scores, without)
    estimates = {pk: _estimate(scores[pk], higher_is_better=task.higher_is_better) for pk in evaluations}
    declared = max((set(one.items) for one in scores.values()), key=len, default=set())
    reasons = {}
    for pk in evaluations:
        items = set(scores[pk].items)
        missing, strange = len(declared - items), len(items - declared)
        reasons[pk] = f"other items: {missing:,} missing, {strange:,} of its own" if missing or strange else ""
    compared = [pk for pk in evaluations if not reasons[pk]]
    chosen = list(combinations(range(len(compared)), 2))
    if not chosen:
        return Standings(estimates, reasons, {}, beside)
    sheet = _lay_out([scores[pk] for pk in compared])
    found = compare_sheet(sheet, chosen, margin=margin, higher_is_better=task.higher_is_better)
    pairs = {(compared[a], compared[b]): one for (a, b), one in zip(chosen, found, strict=True)}
    return Standings(estimates, reasons, pairs, beside)


def _look_beside(task: Task, scores: Mapping[int, ItemScores], without: frozenset[str]) -> dict[int, Beside]:
    ratios = read_ratios(task, list(scores), without=without)
    episodes = read_episodes(scores, without=without) if without and task.definition["output_type"] == "agent" else {}
    return {
        pk: Beside(
            count=int(one.asked.sum()),
            failed=int(one.failed.sum()),
            left_out=int((~one.asked).sum()),
            episodes=episodes.get(pk),
            ratios={**ratios.get(pk, {}), **estimate_passing(task, one)},
        )
        for pk, one in scores.items()
    }


def _lay_out(found: Sequence[ItemScores]) -> Sheet:
    """All were asked the same items, and items are sorted: columns line up."""
    return Sheet(
        values=np.stack([one.values for one in found]),
        asked=np.stack([one.asked for one in found]),
        failed=np.stack([one.failed for one in found]),
        clusters=number_clusters(found[0].clusters, len(found[0].items)),
    )


def _estimate(one: ItemScores, *, higher_is_better: bool) -> Estimate:
    """Items without a score count as 0 where more is better, and are left out where less is."""
    scored = ~np.isnan(one.values)
    taken = np.flatnonzero(one.asked if higher_is_better else one.asked & scored)
    values = np.where(scored, one.values, 0.0)[taken]
    return estimate_mean(values, clusters=[one.clusters[place] for place in taken.tolist()])


def _hash(task: Task, evaluations: Sequence[Evaluation], without: frozenset[str]) -> str:
    content = [
        METHODS,
        task.pk,
        task.definition["x_stats"]["equivalence_margin"],
        sorted((one.pk, one.samples_sha256) for one in evaluations),
        sorted(without),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _keep(task: Task, key: str, found: Standings) -> None:
    pairs = [[a, b, *(getattr(one, name) for name in _FIELDS)] for (a, b), one in found.comparisons.items()]
    estimates = [
        [pk, found.not_compared[pk], list(vars(one).values()), asdict(found.beside[pk])]
        for pk, one in found.estimates.items()
    ]
    row = Standing(
        task=task, key=key, estimates=estimates, comparisons=zlib.compress(json.dumps(pairs).encode(), level=1)
    )
    # Two pages may have worked it out at once: both found the same.
    Standing.objects.bulk_create([row], ignore_conflicts=True)
    kept = Standing.objects.filter(task=task).order_by("-created", "-pk").values_list("pk", flat=True)[:_KEPT]
    Standing.objects.filter(task=task).exclude(pk__in=list(kept)).delete()


def _unpack(estimates: list[list[Any]], comparisons: Any, against: Collection[int]) -> Standings:
    pairs = [] if comparisons is None else json.loads(zlib.decompress(bytes(comparisons)))
    return Standings(
        {row[0]: Estimate(*row[2]) for row in estimates},
        {row[0]: row[1] for row in estimates},
        {
            (row[0], row[1]): _read_comparison(row[2:])
            for row in pairs
            if not against or row[0] in against or row[1] in against
        },
        {row[0]: _read_beside(row[3]) for row in estimates},
    )


def _read_beside(known: dict[str, Any]) -> Beside:
    return Beside(**{**known, "ratios": {name: Estimate(**one) for name, one in known["ratios"].items()}})


def _read_comparison(values: list[Any]) -> Comparison:
    known = dict(zip(_FIELDS, values, strict=True))
    for name in ("verdict", "withheld", "answered"):
        known[name] = None if known[name] is None else Verdict(known[name])
    return Comparison(**known)
