"""The answer cites the sections of law that the reference cites."""

from typing import Literal

from pydantic import Field

from trainer.contract.rewards.base import AnswerRewardBase


class CitationF1Reward(AnswerRewardBase):
    """Overlap of the cited (law, section) pairs with those of the row. Paragraphs and subsections are not compared."""

    kind: Literal["citation_f1"] = "citation_f1"
    citations: str = Field(default="citations", min_length=1)
    """Row field that lists the right citations, each with `law` and `section`."""
    written: Literal["text", "json"] = "text"
    """How the policy cites. text: as lawyers write (มาตรา 40 แห่งประมวลรัษฎากร; § 433 BGB); json: the last JSON object of
    the answer has `citations`, each with `law` and `section`."""
    laws: list[str] = []
    """Names of further laws to be recognised in text, beside those of the row and what begins as a Thai law does."""
    measure: Literal["f1", "precision", "recall"] = "f1"

    def row_fields(self) -> tuple[str, ...]:
        return (self.citations,)
