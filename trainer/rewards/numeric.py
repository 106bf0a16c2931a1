"""The last number of the answer is the reference's: 1[|a − b| ≤ tolerance · |b|].

Numbers are read as the metric `numeric_match` reads them: digits of any script, commas between thousands. An answer
without a number is worth 0: writing one is what the policy has to learn.
"""

from decimal import Decimal

from trainer.contract.rewards.numeric import NumericReward
from trainer.evaluation.metrics.numeric_match import last_number
from trainer.rewards.base import Answer, Fault, Row, SingleReward
from trainer.rewards.reading import read_answer


class Numeric(SingleReward):
    config_class = NumericReward
    config: NumericReward
    range = (0.0, 1.0)

    def value(self, answer: Answer) -> float:
        if reason := self.missing(answer.row):
            raise Fault(f"The row has {reason}.")
        given = last_number(read_answer(answer, self.config))
        wanted = last_number(str(answer.row[self.config.reference]))
        if given is None or wanted is None:
            return 0.0
        return float(abs(given - wanted) <= Decimal(repr(self.config.tolerance)) * abs(wanted))

    def missing(self, row: Row) -> str:
        if reason := super().missing(row):
            return reason
        return (
            ""
            if last_number(str(row[self.config.reference])) is not None
            else (f"no number in its `{self.config.reference}`")
        )
