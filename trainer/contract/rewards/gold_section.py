"""The policy has looked at the sections of law that the right answer stands on."""

from typing import Literal

from pydantic import Field

from trainer.contract.rewards.base import RewardBase


class GoldSectionReward(RewardBase):
    """Share of the row's citations that tools have shown in the episode."""

    kind: Literal["gold_section"] = "gold_section"
    citations: str = Field(default="citations", min_length=1)
    """Row field that lists the right citations, each with `law` and `section`."""
    tools: list[str] = ["read_law"]
    """Tools whose sections count; with search_law among them, having found a section is enough."""

    def row_fields(self) -> tuple[str, ...]:
        return (self.citations,)
