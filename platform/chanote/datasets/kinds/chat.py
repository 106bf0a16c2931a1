"""`chat`: a conversation that ends in, or holds, answers of the assistant."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chanote.datasets.errors import RowError
from chanote.datasets.kinds.base import RowModel

TURNS = ("system", "user", "context", "assistant")
SHAREGPT = {"human": "user", "gpt": "assistant", "bot": "assistant", "chatgpt": "assistant"}


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
    loose = TURNS
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

    @classmethod
    def put_together(cls, content: dict[str, Any]) -> dict[str, Any]:
        messages = content.get("messages")
        if isinstance(messages, list):
            return {**content, "messages": [rename_turn(message) for message in messages]}
        if "messages" in content:
            return content
        turns = {field: content.pop(field, None) for field in TURNS}
        user, context = turns["user"], turns["context"]
        for field, value in turns.items():
            if value is not None and not isinstance(value, str):
                raise RowError(f"{field} is not text")
        if user and context:
            user = f"{user}\n\n{context}"
        spoken = [("system", turns["system"]), ("user", user), ("assistant", turns["assistant"])]
        return {**content, "messages": [{"role": role, "content": text} for role, text in spoken if text]}

    def texts(self) -> Iterator[str]:
        for message in self.messages:
            yield message.content or ""

    def law_names(self) -> Iterator[str]:
        law = (self.model_extra or {}).get("law_name")
        if isinstance(law, str):
            yield law


def rename_turn(message: Any) -> Any:
    """ShareGPT's `from` and `value` as role and content."""
    if isinstance(message, dict) and "role" not in message and {"from", "value"} <= message.keys():
        rest = {key: value for key, value in message.items() if key not in {"from", "value"}}
        return {**rest, "role": SHAREGPT.get(message["from"], message["from"]), "content": message["value"]}
    return message
