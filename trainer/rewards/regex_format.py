"""The form is right: 1[pattern matches].

The `regex` library matches, because it can be given a time limit: a pattern that backtracks without end would otherwise
hold up the whole run.
"""

import regex

from trainer.contract.rewards.regex_format import RegexFormatReward
from trainer.rewards.base import Answer, Fault, SingleReward
from trainer.rewards.reading import read_answer


class RegexFormat(SingleReward):
    config_class = RegexFormatReward
    config: RegexFormatReward
    range = (0.0, 1.0)

    def value(self, answer: Answer) -> float:
        pattern = regex.compile(self.config.pattern, regex.DOTALL if self.config.dot_matches_newline else 0)
        look = pattern.fullmatch if self.config.match == "full" else pattern.search
        try:
            return float(look(read_answer(answer, self.config), timeout=self.config.seconds) is not None)
        except TimeoutError:
            raise Fault(f"The pattern took more than {self.config.seconds:g} s; simplify it.") from None
