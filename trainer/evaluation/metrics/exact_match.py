"""The answer is the reference answer, character for character, unless the task says what does not count."""

import string
from typing import cast

import regex

from trainer.contract import TaskSpec
from trainer.contract.metrics import ExactOptions
from trainer.evaluation.filters import SECONDS, FilterTimeout
from trainer.evaluation.folding import normalise
from trainer.evaluation.metrics.base import AnswerMetric, Judgement

PUNCTUATION = str.maketrans("", "", string.punctuation)


class ExactMatch(AnswerMetric):
    """1 when both are equal after `normalise`, else 0. Case and punctuation count unless options say otherwise."""

    name = "exact_match"
    options = ExactOptions()

    def configure(self, task: TaskSpec) -> None:
        self.options = cast(ExactOptions, task.options)

    def judge(self, output: str, target: str) -> Judgement:
        return Judgement(float(self._simplify(output) == self._simplify(target)))

    def _simplify(self, text: str) -> str:
        """Raises FilterTimeout."""
        for pattern in self.options.regexes_to_ignore:
            try:
                text = regex.sub(pattern, "", text, timeout=SECONDS)
            except TimeoutError as error:
                raise FilterTimeout(f"The pattern {pattern[:80]} took more than {SECONDS:g} s.") from error
        if self.options.ignore_case:
            text = text.lower()
        if self.options.ignore_punctuation:
            text = text.translate(PUNCTUATION)
        return normalise(text)
