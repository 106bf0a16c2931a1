"""Short answers from a passage, compared as SQuAD does: exact match, and F1 over what both have.

Both sides are first lowered, freed of punctuation and zero-width spaces, digits folded to 0-9; English articles go
where words are compared. Then, with c the size of the common multiset of units,

    P = c / units of the answer,   R = c / units of the reference,   F1 = 2 P R / (P + R).

Of several references the best counts (Rajpurkar et al. 2016). Units are characters, words between spaces, or the words
of PyThaiNLP's newmm.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample
from trainer.contract.metrics import OverlapOptions
from trainer.evaluation.errors import TaskError
from trainer.evaluation.folding import fold_thai
from trainer.evaluation.metrics.base import Further, Judgement, RowMetric

if TYPE_CHECKING:
    from trainer.evaluation.tasks import Item

ARTICLES = frozenset(("a", "an", "the"))
LONGEST_NEWMM = 20_000
"""Characters that are cut into words; a passage's answer has a hundred, and newmm is slow on hostile ones."""
Cut = Callable[[str], list[str]]


def simplify(text: str) -> str:
    """Without punctuation and symbols; what stood around a removed sign stays apart."""
    kept = "".join(" " if unicodedata.category(c)[0] in "PS" else c for c in fold_thai(text).lower())
    return " ".join(kept.split())


def cut_characters(text: str) -> list[str]:
    return list(text.replace(" ", ""))


def cut_words(text: str) -> list[str]:
    return [word for word in text.split() if word not in ARTICLES]


def overlap_f1(answer: Sequence[str], reference: Sequence[str]) -> float:
    """1 when both are empty."""
    if not answer or not reference:
        return float(not answer and not reference)
    common = sum((Counter(answer) & Counter(reference)).values())
    return 2 * common / (len(answer) + len(reference))


class AnswerOverlap(RowMetric):
    name = "answer_overlap"

    def configure(self, task: TaskSpec) -> None:
        self.options = options = cast(OverlapOptions, task.options)
        cuts: dict[str, Cut] = {"characters": cut_characters, "words": cut_words}
        self.cut = cuts[options.split] if options.split in cuts else open_newmm(task.task, options.pythainlp)

    def check_item(self, item: "Item") -> str:
        field = self.options.references
        if field and not isinstance(item.row.get(field), list):
            return f"the row has no list {field}, which metric_options.references names"
        return "" if any(map(simplify, self._references(item))) else "no reference answer holds a letter or a digit"

    def judge_item(self, output: str, item: "Item") -> list[Judgement]:
        answer = simplify(output)
        references = [simplify(one) for one in self._references(item)]
        units = self.cut(answer)
        exact = float(any(units == self.cut(one) for one in references))
        f1 = max(overlap_f1(units, self.cut(one)) for one in references)
        return [Judgement(exact if self.options.measure == "em" else f1, detail={"em": exact, "f1": f1})]

    def _references(self, item: "Item") -> list[str]:
        more = item.row.get(self.options.references) if self.options.references else None
        return [item.target, *(str(one) for one in more or [])]

    def further(self, samples: Sequence[ScoredSample]) -> list[Further]:
        found = [one for one in samples if "em" in one.detail]
        clusters = [one.cluster for one in found]
        return [
            Further(name, [float(cast(float, one.detail[name])) for one in found], clusters) for name in ("em", "f1")
        ]


def open_newmm(task: str, version: str) -> Cut:
    """Raises TaskError where PyThaiNLP is not there in the version that the task names."""
    try:
        import pythainlp
    except ImportError as error:
        raise TaskError(
            f"{task}: newmm needs PyThaiNLP; install pythainlp=={version}, or compare characters (split)"
        ) from error
    if pythainlp.__version__ != version:
        raise TaskError(
            f"{task}: metric_options.pythainlp is {version or 'empty'} and {pythainlp.__version__} is installed, which "
            "cuts other words; name the installed version, or compare characters (split)"
        )
    from pythainlp.tokenize import word_tokenize

    def cut(text: str) -> list[str]:
        return [word for word in word_tokenize(text[:LONGEST_NEWMM], engine="newmm") if word.strip()]

    return cut
