"""A grade from 1 to 10 by a model that judges, told as tenths."""

from collections.abc import Sequence

from trainer.contract.events import ScoredSample
from trainer.contract.judging import JudgedBy
from trainer.evaluation.metrics.base import Further, JudgeMetric


class JudgeGrade(JudgeMetric):
    """Beside the score: what each judge of a panel gave alone, and the mean of each turn."""

    name = "judge_grade"

    def further(self, samples: Sequence[ScoredSample]) -> list[Further]:
        return mean_by_judge(samples) + mean_by_turn(samples)


def mean_by_judge(samples: Sequence[ScoredSample]) -> list[Further]:
    """Of a panel; one judge alone is the score itself."""
    values: dict[str, list[tuple[float, str]]] = {}
    for sample in samples:
        for one in read_judges(sample):
            if one.value is not None:
                values.setdefault(one.judge, []).append((one.value, sample.cluster))
    if len(values) < 2:
        return []
    return [describe(judge, found) for judge, found in values.items()]


def describe(name: str, found: Sequence[tuple[float, str]]) -> Further:
    """From (value, cluster)."""
    return Further(name, [value for value, _ in found], [cluster for _, cluster in found])


def mean_by_turn(samples: Sequence[ScoredSample]) -> list[Further]:
    turns: dict[str, list[float]] = {}
    for sample in samples:
        if sample.cluster and sample.score is not None and sample.item.startswith(f"{sample.cluster}."):
            turns.setdefault(sample.item.rpartition(".")[2], []).append(sample.score)
    return [Further(f"turn {turn}", found, [""] * len(found)) for turn, found in sorted(turns.items())]


def read_judges(sample: ScoredSample) -> list[JudgedBy]:
    found = sample.detail.get("judges", [])
    return [one for one in found if isinstance(one, JudgedBy)] if isinstance(found, list) else []
