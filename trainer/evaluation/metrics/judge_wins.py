"""Whether an answer is better than an opponent's, by a model that judges both orders: 1, 0.5 or 0."""

from collections.abc import Sequence

from trainer.contract.events import ScoredSample
from trainer.evaluation.metrics.base import Further, JudgeMetric
from trainer.evaluation.metrics.judge_grade import describe, mean_by_judge, mean_by_turn, read_judges


class JudgeWins(JudgeMetric):
    """Beside the win rate: how often each judge said the same in both orders."""

    name = "judge_wins"

    def further(self, samples: Sequence[ScoredSample]) -> list[Further]:
        same: dict[str, list[tuple[float, str]]] = {}
        for sample in samples:
            for one in read_judges(sample):
                if one.given and one.swapped:
                    same.setdefault(one.judge, []).append((float(one.given == one.swapped), sample.cluster))
        consistent = [describe(f"same in both orders, {judge}", found) for judge, found in same.items()]
        return consistent + mean_by_judge(samples) + mean_by_turn(samples)
