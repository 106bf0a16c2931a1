"""Judges held against each other and against themselves: a panel's grades, other judges of the same answers, and what
one judge says when two answers change places."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from chanote.boards.judging.identity import Judging, identify_judging
from chanote.boards.judging.labels import hash_answer
from chanote.boards.models import Evaluation, Sample, Task
from chanote.boards.statistics.agreement import Consistency, position_consistency
from chanote.boards.statistics.agreement_interval import Bounded, bound_kappa
from chanote.boards.statistics.proportion import wilson_interval

_FIRST = {"win": "a", "loss": "b", "tie": "tie"}
_SECOND = {"win": "b", "loss": "a", "tie": "tie"}
"""A verdict on the model's answer as the place of the answer that was named: it stands first, then second."""


@dataclass(frozen=True)
class JudgeFacts:
    """One judge on all answers of a table."""

    judge: str
    judged: int
    failed: int
    mean: float | None
    ties: float | None
    """Share of ties; None of grades."""
    positions: Consistency | None
    """Over the answers that it saw in both orders; None where it saw none."""
    consistent: tuple[float, float] | None
    """Wilson's interval of the share that stayed."""


@dataclass(frozen=True)
class JudgePair:
    a: str
    b: str
    agreement: Bounded
    apart: float
    """Mean distance of both values."""


Values = dict[tuple[int, str], float]
"""Of one judge, by model and item."""


@dataclass
class _Seen:
    values: Values
    verdicts: list[tuple[str, str]]
    failed: int = 0


def compare_judges(
    task: Task, judging: Judging, evaluations: Sequence[Evaluation], others: Mapping[Task, Sequence[Evaluation]]
) -> tuple[list[JudgeFacts], list[JudgePair]]:
    """Facts on every judge of the task, and agreement of each two, those of `others` included, which judged the very
    same answers. `others`: tasks that ask the same, with their evaluations."""
    seen, answers, clusters = _read_judges(judging, evaluations)
    facts = [_describe(judging, name, one) for name, one in seen.items()]
    values = {name: one.values for name, one in seen.items()}
    for other, found in others.items():
        there = identify_judging(other)
        if there is None:
            continue
        elsewhere, theirs, _ = _read_judges(there, found)
        for name, one in elsewhere.items():
            label = name if name not in values else f"{name} ({other.reference})"
            same = {key: value for key, value in one.values.items() if theirs[key] == answers.get(key)}
            if same:
                values[label] = same
    pairs = []
    for a, b in combinations(values, 2):
        common = [key for key in values[a] if key in values[b]]
        if common:
            first, second = ([values[name][key] for key in common] for name in (a, b))
            weights: Any = "quadratic" if judging.scale == "grade" else "none"
            apart = sum(abs(x - y) for x, y in zip(first, second, strict=True)) / len(common)
            bounded = bound_kappa(first, second, [clusters[key] for key in common], weights=weights)
            pairs.append(JudgePair(a, b, bounded, apart))
    return facts, pairs


def _read_judges(
    judging: Judging, evaluations: Sequence[Evaluation]
) -> tuple[dict[str, _Seen], dict[tuple[int, str], str], dict[tuple[int, str], str]]:
    """By judge; the answers by hash; their clusters."""
    models = {one.pk: one.model_id for one in evaluations}
    seen = {name: _Seen({}, []) for name in judging.judges}
    answers, clusters = {}, {}
    for sample in Sample.objects.filter(evaluation__in=models).order_by("id").defer("episode").iterator():
        key = (models[sample.evaluation_id], sample.item)
        answers[key] = hash_answer(sample) if judging.ours else ""
        clusters[key] = sample.cluster or sample.item
        for said in read_said(sample, judging):
            one = seen.get(said["judge"])
            if one is None:
                continue
            if said["value"] is None:
                one.failed += 1
            else:
                one.values[key] = said["value"]
                if said.get("given") and said.get("swapped"):
                    one.verdicts.append((said["given"], said["swapped"]))
    return seen, answers, clusters


def read_said(sample: Sample, judging: Judging) -> list[dict[str, Any]]:
    """What each judge said, as `trainer.contract.judging.JudgedBy`; of an import that tells no more, its score."""
    found = sample.detail.get("judges")
    if isinstance(found, list):
        return found
    if judging.ours and sample.status != "left_out":
        return []  # there was no answer to judge
    value = None if sample.status == "left_out" else sample.score
    return [{"judge": judging.judges[0], "value": value}]


def _describe(judging: Judging, name: str, seen: _Seen) -> JudgeFacts:
    values = list(seen.values.values())
    positions = None
    interval = None
    if seen.verdicts:
        positions = position_consistency(
            [_FIRST[given] for given, _ in seen.verdicts], [_SECOND[swapped] for _, swapped in seen.verdicts]
        )
        interval = wilson_interval(positions.same / positions.pairs, positions.pairs)
    return JudgeFacts(
        judge=name,
        judged=len(values),
        failed=seen.failed,
        mean=sum(values) / len(values) if values else None,
        ties=values.count(0.5) / len(values) if values and judging.scale == "wins" else None,
        positions=positions,
        consistent=interval,
    )
