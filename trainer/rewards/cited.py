"""Rewards of rows that list citations: sections of law that an answer should rest on."""

from trainer.citations import read_citations
from trainer.contract.rewards.citation_f1 import CitationF1Reward
from trainer.contract.rewards.gold_section import GoldSectionReward
from trainer.rewards.base import Row, SingleReward


class CitedReward(SingleReward):
    config: CitationF1Reward | GoldSectionReward

    def missing(self, row: Row) -> str:
        if reason := super().missing(row):
            return reason
        listed = row[self.config.citations]
        if isinstance(listed, list) and len(read_citations(listed)) == len(listed):
            return ""
        return f"a `{self.config.citations}` that is no list of `law` and `section`"
