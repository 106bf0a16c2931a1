"""Which sections of law stand among the first k results of a search, best first.

With R the right sections of a question and r_1 < r_2 < … the places, from 1, of those found among the first k:

    recall = |found| / |R|,   hit rate = 1[found ≠ ∅],   multi hit rate = 1[found = R],   mrr = 1 / r_1, or 0
    multi-MRR = recall · mean over found of 1 / (r_j − j + 1): the earlier right ones stand in nobody's way

as NitiBench (arXiv:2502.10868) defines them. The answer is the JSON of a citation task: `citations` in their order; one
that stands there again is left out.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from trainer.citations import Citation, match_years, read_citations
from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample
from trainer.contract.metrics import RetrievalOptions
from trainer.evaluation.metrics.base import Further, Judgement, RowMetric
from trainer.evaluation.metrics.citations import check_cited, read_right
from trainer.rewards.citation_f1 import find_cited_json

if TYPE_CHECKING:
    from trainer.evaluation.tasks import Item

MEASURES = ("recall", "hit_rate", "multi_hit_rate", "mrr", "multi_mrr")


def measure_ranking(ranked: Sequence[Citation], right: set[Citation], *, k: int) -> dict[str, float]:
    """All measures of one question; `ranked` holds nothing twice and `right` is not empty."""
    places = [place for place, one in enumerate(ranked[:k], start=1) if one in right]
    recall = len(places) / len(right)
    unhindered = [1 / (place - before) for before, place in enumerate(places)]
    return {
        "recall": recall,
        "hit_rate": float(bool(places)),
        "multi_hit_rate": float(len(places) == len(right)),
        "mrr": 1 / places[0] if places else 0.0,
        "multi_mrr": recall * sum(unhindered) / len(unhindered) if unhindered else 0.0,
    }


class Retrieval(RowMetric):
    name = "retrieval"

    def configure(self, task: TaskSpec) -> None:
        self.options = cast(RetrievalOptions, task.options)

    def check_item(self, item: "Item") -> str:
        return check_cited(item, self.options.citations)

    def judge_item(self, output: str, item: "Item") -> list[Judgement]:
        right = read_right(item, self.options.citations)
        listed = read_citations(find_cited_json(output))
        ranked = list(dict.fromkeys(next(iter(match_years([one], right))) for one in listed))
        measured = measure_ranking(ranked, right, k=self.options.k)
        return [Judgement(measured[self.options.measure], detail={**measured})]

    def further(self, samples: Sequence[ScoredSample]) -> list[Further]:
        found = [one for one in samples if "mrr" in one.detail]
        clusters = [one.cluster for one in found]
        return [
            Further(f"{name} at {self.options.k}", [float(cast(float, one.detail[name])) for one in found], clusters)
            for name in MEASURES
        ]
