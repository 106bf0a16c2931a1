"""Does the answer stay in the language it was asked in, as far as its letters show.

With m and a letters of the main script and of scripts that are also allowed, and f letters of all others:

    1[f = 0] · 1[m / (m + a) ≥ main_share],   the second only where most letters of the prompt are of the main script.

Letters are Unicode's category L with a script of their own. Not looked at are code between backticks, web addresses,
what the prompt has between quotation marks, and words of other scripts than the main one that stand in the prompt: who
is asked about Φ may write Φ. An answer without letters passes when something is written and nothing was taken away.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample
from trainer.contract.metrics import CodeSwitchingOptions
from trainer.evaluation.metrics.base import Further, Judgement, RowMetric
from trainer.rewards.letters import count_letters, find_words, split_code, unlettered

if TYPE_CHECKING:
    from trainer.evaluation.tasks import Item

QUOTED = re.compile(r"\"([^\"\n]{1,300})\"|“([^”\n]{1,300})”|«([^»\n]{1,300})»|‘([^’\n]{1,300})’")
NAMED = ("no_foreign_letters", "enough_main_script")


class CodeSwitching(RowMetric):
    """Both halves stand in the sample's detail and are told beside the score."""

    name = "code_switching"

    def configure(self, task: TaskSpec) -> None:
        self.options = cast(CodeSwitchingOptions, task.options)

    def check_item(self, item: "Item") -> str:
        return "" if item.question.strip() else "the prompt is empty"

    def judge_item(self, output: str, item: "Item") -> list[Judgement]:
        main, known = self.options.main, [self.options.main, *self.options.also]
        text, skipped = split_code(_without_quotes(output, item.question))
        asked = set(find_words(item.question, [main], others=True))
        in_main = _count(find_words(text, [main]))
        also = _count(set_aside(find_words(text, [one for one in known if one != main]), asked))
        foreign_words = set_aside(find_words(text, known, others=True), asked)
        foreign = _count(foreign_words)
        if not in_main + also + foreign:
            left = set_aside(find_words(text, [main], others=True), set())
            score = float(bool(left)) or unlettered(text, skipped)
            return [Judgement(score, detail={NAMED[0]: score, NAMED[1]: score})]
        pure = float(foreign == 0)
        share = in_main / (in_main + also) if in_main + also else 0.0
        enough = float(not self._asked_in_main(item.question) or share >= self.options.main_share)
        detail: dict[str, float | int | str | list[float]] = {NAMED[0]: pure, NAMED[1]: enough, "main_share": share}
        if foreign_words:
            detail["foreign"] = " ".join(dict.fromkeys(foreign_words))[:200]
        return [Judgement(pure * enough, detail=detail)]

    def _asked_in_main(self, question: str) -> bool:
        text, _ = split_code(question)
        return 2 * _count(find_words(text, [self.options.main])) > count_letters(text)

    def further(self, samples: Sequence[ScoredSample]) -> list[Further]:
        told = [(name, [one for one in samples if name in one.detail]) for name in NAMED]
        return [
            Further(name, [float(cast(float, one.detail[name])) for one in found], [one.cluster for one in found])
            for name, found in told
        ]


def _without_quotes(output: str, question: str) -> str:
    """The answer without what the prompt quotes, the longest first."""
    quoted = {next(filter(None, one)).strip() for one in QUOTED.findall(question)} - {""}
    for one in sorted(quoted, key=len, reverse=True):
        output = output.replace(one, " ")
    return output


def set_aside(words: Sequence[str], asked: set[str]) -> list[str]:
    """Without the words that the prompt has."""
    return [word for word in words if word not in asked]


def _count(words: Sequence[str]) -> int:
    return sum(map(count_letters, words))
