"""Citations that exist: |cited ∩ corpus| / |cited|, over the (law, section) pairs of the answer.

The corpus is asked through the tool service, which knows the names of laws better than a list would. A section cited
without a law counts as one that does not exist. A service that does not answer values nothing.
"""

from trainer.citations import Citation, find_citations
from trainer.contract.endpoints import EndpointError
from trainer.contract.rewards.valid_citation import ValidCitationReward, read
from trainer.rewards.base import Answer, Fault, SingleReward
from trainer.rewards.reading import read_answer

UNREADABLE = (400, 413, 422)
"""Statuses of a service that could not read what was cited: no fault, or nonsense would escape its punishment."""


class ValidCitation(SingleReward):
    config_class = ValidCitationReward
    config: ValidCitationReward
    range = (0.0, 1.0)

    def __init__(self, config: ValidCitationReward) -> None:
        super().__init__(config)
        self._known: dict[Citation, bool] = {}

    def value(self, answer: Answer) -> float:
        cited = set(find_citations(read_answer(answer, self.config), self.config.laws))
        return sum(map(self._exists, cited)) / len(cited) if cited else 0.0

    def _exists(self, citation: Citation) -> bool:
        if not citation.law:
            return False
        if citation not in self._known:
            self.leave_if_asked()
            year = f" พ.ศ. {citation.year}" if citation.year else ""
            try:
                found = read(self.config.service, citation.law + year, citation.section, seconds=self.config.seconds)
            except EndpointError as error:
                if error.status not in UNREADABLE:
                    raise Fault(str(error)) from error
                found = "invalid"
            self._known[citation] = found == "found"
        return self._known[citation]
