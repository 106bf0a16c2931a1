"""Which sections of law an answer cites, against those it should: precision, recall and F1 over sets of (law, section).

    P = |cited ∩ right| / |cited|,   R = |cited ∩ right| / |right|,   F1 = 2 |cited ∩ right| / (|cited| + |right|)

Of one answer, whose mean is the macro average; and over the sums of all answers, the micro average. An answer that
cites nothing has 0. The program published with NitiBench (arXiv:2502.10868) takes what is missing for false positives
and what is too much for false negatives, so its precision is recall and its recall precision: `compat: nitibench`
gives its numbers. F1 is the same in both.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from trainer.citations import Citation, find_citations, match_years, read_citations
from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample
from trainer.contract.metrics import CitationOptions
from trainer.evaluation.metrics.base import Further, Judgement, RowMetric
from trainer.rewards.citation_f1 import find_cited_json

if TYPE_CHECKING:
    from trainer.evaluation.tasks import Item

MEASURES = ("precision", "recall", "f1")
COUNTS = ("met", "cited", "right")


def measure_citations(met: int, cited: int, right: int) -> dict[str, float]:
    """0 where nothing is cited, or nothing right."""
    return {
        "precision": met / cited if cited else 0.0,
        "recall": met / right if right else 0.0,
        "f1": 2 * met / (cited + right) if cited + right else 0.0,
    }


def exchange(measured: dict[str, float]) -> dict[str, float]:
    return {"precision": measured["recall"], "recall": measured["precision"], "f1": measured["f1"]}


class Citations(RowMetric):
    name = "citations"

    def configure(self, task: TaskSpec) -> None:
        self.options = cast(CitationOptions, task.options)

    def check_item(self, item: "Item") -> str:
        return check_cited(item, self.options.citations)

    def judge_item(self, output: str, item: "Item") -> list[Judgement]:
        right = read_right(item, self.options.citations)
        cited = match_years(self._cited(output, item), right)
        counts = {"met": len(cited & right), "cited": len(cited), "right": len(right)}
        measured = self._measure(**counts)
        return [Judgement(measured[self.options.measure], detail={**measured, **counts})]

    def _measure(self, met: int, cited: int, right: int) -> dict[str, float]:
        measured = measure_citations(met, cited, right)
        return exchange(measured) if self.options.compat == "nitibench" else measured

    def _cited(self, output: str, item: "Item") -> list[Citation]:
        if self.options.written == "json":
            return read_citations(find_cited_json(output))
        return find_citations(output, [str(one["law"]) for one in item.row[self.options.citations]])

    def further(self, samples: Sequence[ScoredSample]) -> list[Further]:
        found = [one for one in samples if all(name in one.detail for name in COUNTS)]
        if not found:
            return []
        clusters = [one.cluster for one in found]
        macro = [
            Further(f"macro {name}", [float(cast(float, one.detail[name])) for one in found], clusters)
            for name in MEASURES
        ]
        met, cited, right = (sum(int(cast(int, one.detail[name])) for one in found) for name in COUNTS)
        micro = self._measure(met, cited, right)
        return [*macro, *(Further(f"micro {name}", [0.0] * len(found), clusters, micro[name]) for name in MEASURES)]


def check_cited(item: "Item", field: str) -> str:
    """Why the row's list holds no right citations; empty when it does."""
    listed = item.row.get(field)
    if not isinstance(listed, list) or not listed or len(read_citations(listed)) != len(listed):
        return f"the row has no list {field} whose entries each have `law` and `section`"
    return ""


def read_right(item: "Item", field: str) -> set[Citation]:
    return set(read_citations(item.row[field]))
