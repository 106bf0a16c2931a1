"""Abstaining where there is nothing to answer: 1[abstains ⇔ the row has no answer]."""

import regex

from trainer.contract.rewards.abstention import AbstentionReward
from trainer.rewards.base import Answer, Fault, Row, SingleReward
from trainer.rewards.reading import read_answer

SECONDS = 1.0


class Abstention(SingleReward):
    config_class = AbstentionReward
    config: AbstentionReward
    range = (0.0, 1.0)

    def value(self, answer: Answer) -> float:
        if reason := self.missing(answer.row):
            raise Fault(f"The row has {reason}.")
        try:
            found = regex.search(self.config.pattern, read_answer(answer, self.config), timeout=SECONDS)
        except TimeoutError:
            raise Fault(f"The pattern took more than {SECONDS:g} s; simplify it.") from None
        return float((found is None) == answer.row[self.config.answerable])

    def missing(self, row: Row) -> str:
        if isinstance(row.get(self.config.answerable), bool):
            return ""
        return f"no `{self.config.answerable}` that is true or false"
