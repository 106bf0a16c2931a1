"""The answer is the reference answer, character for character."""

from trainer.evaluation.folding import normalise
from trainer.evaluation.metrics.base import AnswerMetric, Judgement


class ExactMatch(AnswerMetric):
    """1 when both are equal after `normalise`, else 0. Case and punctuation count."""

    name = "exact_match"

    def judge(self, output: str, target: str) -> Judgement:
        return Judgement(float(normalise(output) == normalise(target)))
