"""`preferences`: a conversation up to the assistant's turn, and two answers of which one is preferred."""

from collections.abc import Iterator
from typing import Any

from pydantic import Field, model_validator

from chanote.datasets.kinds.base import FilledText, RowModel
from chanote.datasets.kinds.chat import Message, rename_turn

Turns = list[Any]


class PreferenceRow(RowModel):
    required = ("chosen", "rejected")
    aliases = {
        "messages": ("conversations", "conversation", "history"),
        "prompt": ("question", "instruction", "query", "input"),
        "chosen": ("preferred", "winner", "response_chosen", "answer_chosen"),
        "rejected": ("dispreferred", "loser", "response_rejected", "answer_rejected"),
        "system": ("system_prompt",),
    }
    loose = ("system", "prompt")

    messages: list[Message] = Field(min_length=1)
    """What both answers answer. Ends with a turn that is not the assistant's."""
    chosen: FilledText
    rejected: FilledText
    tools: list[dict[str, Any]] | None = None

    @model_validator(mode="after")
    def _check_pair(self) -> "PreferenceRow":
        if self.messages[-1].role == "assistant":
            raise ValueError("messages ends with a turn of the assistant, so nothing is left to answer")
        if self.chosen == self.rejected:
            raise ValueError("chosen and rejected are the same answer")
        return self

    @classmethod
    def put_together(cls, content: dict[str, Any]) -> dict[str, Any]:
        """A prompt may also be plain text, and each answer a whole conversation that begins with the prompt."""
        content = dict(content)
        asked = content.pop("prompt", None)
        prompt = _read_turns(content.pop("messages", None) or asked, role="user")
        chosen, rejected = (content.get(name) for name in ("chosen", "rejected"))
        if isinstance(chosen, list) and isinstance(rejected, list):
            chosen, rejected = (_read_turns(turns, role="assistant") for turns in (chosen, rejected))
            shared = _count_shared(chosen, rejected)
            prompt = prompt or chosen[:shared]
            content["chosen"], content["rejected"] = (_read_answer(turns, prompt) for turns in (chosen, rejected))
        system = content.pop("system", None)
        if isinstance(system, str) and system.strip() and prompt:
            prompt = [{"role": "system", "content": system}, *prompt]
        return {**content, "messages": prompt} if prompt else content

    def texts(self) -> Iterator[str]:
        for message in self.messages:
            yield message.content or ""
        yield self.chosen
        yield self.rejected


def _read_turns(value: Any, *, role: str) -> Any:
    """Turns as role and content; text is one turn of `role`. What is neither is left for the check to name."""
    if isinstance(value, str):
        return [{"role": role, "content": value}] if value.strip() else []
    return [rename_turn(turn) for turn in value] if isinstance(value, list) else value


def _count_shared(one: Turns, other: Turns) -> int:
    shared = 0
    while shared < min(len(one), len(other)) and one[shared] == other[shared]:
        shared += 1
    return shared


def _read_answer(turns: Turns, prompt: Turns) -> Any:
    """The text of the one turn of the assistant after the prompt."""
    rest = turns[len(prompt) :] if turns[: len(prompt)] == prompt else turns
    if len(rest) != 1 or not isinstance(rest[0], dict) or rest[0].get("role") != "assistant":
        return rest
    return rest[0].get("content")
