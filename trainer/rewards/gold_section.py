"""Gold sections looked at: |shown ∩ right| / |right|, over sets of (law, section)."""

from trainer.citations import match_years, read_citations
from trainer.contract.rewards.gold_section import GoldSectionReward
from trainer.rewards.base import Answer, Fault
from trainer.rewards.cited import CitedReward


class GoldSection(CitedReward):
    config_class = GoldSectionReward
    config: GoldSectionReward
    range = (0.0, 1.0)

    def value(self, answer: Answer) -> float:
        if reason := self.missing(answer.row):
            raise Fault(f"The row has {reason}.")
        right = set(read_citations(answer.row[self.config.citations]))
        shown = [
            {"law": law, "section": section}
            for one in answer.calls
            if one.tool in self.config.tools
            for law, section in one.sections
        ]
        return len(match_years(read_citations(shown), right) & right) / len(right)
