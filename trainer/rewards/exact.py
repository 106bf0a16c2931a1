"""The answer is a reference answer: 1[normalise(answer) = normalise(reference)], any of several references.

The comparison is the metric's `exact_match`, so that what is trained is what boards measure.
"""

from trainer.contract.rewards.exact import ExactReward
from trainer.evaluation.metrics.exact_match import ExactMatch
from trainer.rewards.base import Answer, Fault, SingleReward
from trainer.rewards.reading import read_answer


class Exact(SingleReward):
    config_class = ExactReward
    config: ExactReward
    range = (0.0, 1.0)

    def value(self, answer: Answer) -> float:
        if reason := self.missing(answer.row):
            raise Fault(f"The row has {reason}.")
        given = self._fold(read_answer(answer, self.config))
        reference = answer.row[self.config.reference]
        accepted = reference if isinstance(reference, list) else [reference]
        return max(ExactMatch().judge(given, self._fold(str(one))).score or 0.0 for one in accepted)

    def _fold(self, text: str) -> str:
        return text.casefold() if self.config.ignore_case else text
