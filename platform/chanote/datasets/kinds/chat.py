"""`chat`: a conversation that ends in, or holds, answers of the assistant."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chanote.datasets.kinds.base import RowModel


class Message(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    """May be empty only where the assistant calls tools instead of answering."""
    tool_calls: list[dict[str, Any]] | None = None

    @model_validator(mode="after")
    def _check_content(self) -> "Message":
        if not (self.content or "").strip() and not self.tool_calls and self.role != "tool":
            raise ValueError("content is empty")
        return self


class ChatRow(RowModel):
    required = ("messages",)
    aliases = {
        "messages": ("conversations", "conversation", "dialog", "dialogue", "chat"),
        "system": ("system_prompt",),
        "user": ("instruction", "prompt", "question", "query"),
        "context": ("input",),
        "assistant": ("output", "response", "completion", "answer", "reply"),
    }

    messages: list[Message] = Field(min_length=1)
    tools: list[dict[str, Any]] | None = None

    @model_validator(mode="after")
    def _check_answer(self) -> "ChatRow":
        if not any(message.role == "assistant" for message in self.messages):
            raise ValueError("messages holds no turn of the assistant")
        return self

    def texts(self) -> Iterator[str]:
        for message in self.messages:
            yield message.content or ""

    def law_names(self) -> Iterator[str]:
        law = (self.model_extra or {}).get("law_name")
        if isinstance(law, str):
            yield law
