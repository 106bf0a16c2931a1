"""The last number of the answer is the last number of the reference."""

import re
from decimal import Decimal

from trainer.evaluation.folding import fold_digits
from trainer.evaluation.metrics.base import AnswerMetric, Judgement

NUMBER = re.compile(
    r"""(?P<minus>(?<![^\W_])[-\u2212])?      # a hyphen after a letter or a digit joins words, it is no sign
        (?P<digits>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)
        (?P<fraction>\.[0-9]+)?""",
    re.VERBOSE,
)


def last_number(text: str) -> Decimal | None:
    """The last number written in the text, None when there is none. Commas group thousands, a point starts decimals."""
    numbers = list(NUMBER.finditer(fold_digits(text)))
    if not numbers:
        return None
    found = numbers[-1]
    value = Decimal(found["digits"].replace(",", "") + (found["fraction"] or ""))
    return -value if found["minus"] else value


class NumericMatch(AnswerMetric):
    """1 when the last numbers are equal (`7.0` is `7`), 0 when not; unparsable when the answer holds no number."""

    name = "numeric_match"

    def judge(self, output: str, target: str) -> Judgement:
        number = last_number(output)
        if number is None:
            return Judgement(None, "unparsable")
        return Judgement(float(number == last_number(target)))

    def check_target(self, target: str) -> str:
        return "" if last_number(target) is not None else "holds no number, so numeric_match can never be met"
