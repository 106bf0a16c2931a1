"""What the tool service takes and answers. The only part of `toolsandbox` that others import.

A program that fails is a result that the policy learns from; a sandbox that fails is `infra_error`: retry it,
never reward it. Arguments are flat scalars, for trainers that keep only type, description and enum of a property.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

Status = Literal[
    "ok",
    "error",
    "timeout",
    "oom",
    "output_limit",
    "disk_limit",
    "pids_limit",
    "killed",
    "rejected",
    "infra_error",
]


class ToolArguments(BaseModel):
    """Arguments as the policy writes them: flat scalars only."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ToolReply(BaseModel):
    """How one call ended: exactly one terminal status."""

    status: Status
    text: str
    """What the policy reads. Valid UTF-8."""
    retryable: bool = False
    """Only a sandbox that failed: the same call may well succeed a moment later."""
    truncated: bool = False
    wall_ms: float = 0.0
    queue_ms: float = 0.0


class CallRequest(BaseModel):
    """Body of `POST /v1/tools/<name>`."""

    model_config = ConfigDict(extra="forbid")

    arguments: dict[str, str | int | float | bool | None] | str = Field(default_factory=dict)
    """An object, or the JSON text of one as a policy wrote it."""
    session: str | None = Field(default=None, min_length=1, max_length=128)
    """One trajectory. Calls of one session share the state of stateful tools."""
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=128)
    """The same key again, from the same tenant, gets the first call's reply."""


class CallReply(BaseModel):
    """Body of a reply to `POST /v1/tools/<name>`."""

    id: str
    tool: str
    session: str | None = None
    result: SerializeAsAny[ToolReply]


class SearchLaw(ToolArguments):
    query: str = Field(description="What to look for: words, a question, or a citation of a section.")
    top_k: int = Field(default=5, ge=1, le=50, description="How many sections to return, 1 to 50.")


class ReadLaw(ToolArguments):
    law_name: str = Field(description="Name of the law. A part of the name is enough where only one law has it.")
    section_num: str | None = Field(
        default=None,
        description="Section, such as 65, 65 ทวิ or 77/1; 65-70 or 65- for several. Without it, the whole law.",
    )


class LawHit(BaseModel):
    law_name: str
    section_num: str
    text: str
    score: float


class SearchReply(ToolReply):
    hits: list[LawHit] = []


LawAnswer = Literal["found", "unknown_law", "unknown_section", "ambiguous_law", "invalid"]


class ReadReply(ToolReply):
    """`status` is `ok` for `found` and `error` otherwise: a wrong name is something the policy learns from."""

    answer: LawAnswer
    law_name: str | None = None
    section_num: str | None = None
    candidates: list[str] = []
    """Laws, or sections, that the request may have meant."""
    next_section: str | None = None
    """Where a reply that was cut goes on."""
