"""Citation F1 over sets of (law, section).

    P = |cited ∩ right| / |cited|,   R = |cited ∩ right| / |right|,   F1 = 2 |cited ∩ right| / (|cited| + |right|)

The measure of NitiBench (arXiv:2502.10868), with precision and recall the right way round (its code has them swapped,
which leaves F1 as it is). An answer that cites nothing is worth 0, also under precision.
"""

from typing import Any

from trainer.citations import Citation, find_citations, match_years, read_citations
from trainer.contract.rewards.citation_f1 import CitationF1Reward
from trainer.evaluation.last_object import find_last_object
from trainer.rewards.base import Answer, Fault
from trainer.rewards.cited import CitedReward
from trainer.rewards.reading import read_answer


class CitationF1(CitedReward):
    config_class = CitationF1Reward
    config: CitationF1Reward
    range = (0.0, 1.0)

    def value(self, answer: Answer) -> float:
        if reason := self.missing(answer.row):
            raise Fault(f"The row has {reason}.")
        listed = answer.row[self.config.citations]
        right = set(read_citations(listed))
        cited = match_years(self._cited(read_answer(answer, self.config), listed), right)
        met = len(cited & right)
        if not met:
            return 0.0
        return {
            "f1": 2 * met / (len(cited) + len(right)),
            "precision": met / len(cited),
            "recall": met / len(right),
        }[self.config.measure]

    def _cited(self, text: str, listed: list[Any]) -> list[Citation]:
        if self.config.written == "json":
            return read_citations(find_cited_json(text))
        named = [str(one.get("law", one.get("law_name"))) for one in listed]
        return find_citations(text, [*named, *self.config.laws])


def find_cited_json(text: str) -> list[Any]:
    """The list `citations` of the last JSON object in the text that has one; empty without one."""
    found = find_last_object(text, lambda one: isinstance(one.get("citations"), list))
    return list(found["citations"]) if found else []
