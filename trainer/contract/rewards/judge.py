"""A model judges the answer."""

from typing import Literal

from pydantic import Field, JsonValue, PositiveFloat, PositiveInt, field_validator

from trainer.contract.endpoints import Endpoint, probe
from trainer.contract.rewards.base import AnswerRewardBase

OURS = {"model", "messages", "temperature", "max_tokens", "stream", "n"}
"""Fields of a request that the reward sets itself."""


class JudgeReward(AnswerRewardBase):
    """Score of a model over any OpenAI-compatible endpoint, divided by the highest score. A judge that fails masks."""

    kind: Literal["judge"] = "judge"
    endpoint: Endpoint
    """Where the judge is. Prefer one of your own: it reads every question, reference and answer."""
    prompt_version: Literal[1] = 1
    """Version of the words that the judge is asked with; their hash stands in the stage's notes."""
    criteria: str = Field(default="", max_length=4000)
    """What makes an answer good; empty: it must agree with the reference answer."""
    criteria_field: str = ""
    """Row field whose text replaces the criteria for that row; empty: none."""
    question: str = Field(default="question", min_length=1)
    """Row field with the question."""
    reference: str = "answer"
    """Row field with the reference answer; empty: the judge sees none."""
    highest: int = Field(default=2, ge=1, le=10)
    """Scores are whole numbers from 0 to this."""
    longest_text: int = Field(default=16_000, ge=100)
    """Characters of an answer that the judge reads; of a longer one the middle is left out, and the judge told so."""
    max_reply_tokens: PositiveInt = 512
    extra: dict[str, JsonValue] = {}
    """Further fields of the request, such as `chat_template_kwargs`."""
    attempts: int = Field(default=4, ge=1, le=10)
    """Tries for one answer while the server is busy or away."""
    concurrency: int = Field(default=8, ge=1, le=256)
    """Answers judged at the same time."""
    seconds: PositiveFloat = 60.0
    """Time for one call."""
    total_seconds: PositiveFloat = 600.0
    """Time for all answers of a step; what is not judged by then is masked."""

    @field_validator("extra")
    @classmethod
    def _check_extra(cls, extra: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if taken := sorted(OURS & extra.keys()):
            raise ValueError(f"sets {', '.join(taken)}, which the reward sets itself; remove it")
        return extra

    def row_fields(self) -> tuple[str, ...]:
        return tuple(field for field in (self.question, self.reference, self.criteria_field) if field)

    def unreachable(self) -> str:
        reason = probe(self.endpoint)
        return f"endpoint: {reason}" if reason else ""
