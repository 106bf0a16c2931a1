"""The answer is the reference answer, character for character."""

import unicodedata

from trainer.evaluation.metrics.base import AnswerMetric, Judgement

ZERO_WIDTH = dict.fromkeys(map(ord, "\u200b\u2060\ufeff"))
"""Word breaks that Thai text carries invisibly, and the byte-order mark."""


def normalise(text: str) -> str:
    """NFC, no zero-width spaces, runs of white space as one space, none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).translate(ZERO_WIDTH).split())


class ExactMatch(AnswerMetric):
    """1 when both are equal after `normalise`, else 0. Case and punctuation count."""

    name = "exact_match"

    def judge(self, output: str, target: str) -> Judgement:
        return Judgement(float(normalise(output) == normalise(target)))
