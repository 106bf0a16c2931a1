"""Messages → the policy's prompt, as training writes it.

Text is text: what a message says cannot end a turn or begin one, since the tokens that would do so are taken apart in
it. Turns of the assistant are tokenised apart from what stands before them, as they were sampled and trained.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.data.templates import chat_renderer
from trainer.rollouts.turns import break_marks, find_marks
from trainer.serving.refusals import Refused
from trainer.serving.speech import THOUGHTS_START
from trainer.serving.wire import Message, Tool


@dataclass(frozen=True)
class Prompt:
    ids: tuple[int, ...]
    thinking: bool = False
    """It ends within thoughts that the template opened."""


class Writer:
    """Prompts for one tokenizer. `tell_tools`: describe tools in prompts; else the policy knows them by training."""

    def __init__(self, tokenizer: Any, *, tell_tools: bool = True) -> None:
        self.tokenizer = tokenizer
        self.tell_tools = tell_tools
        self._marks = find_marks(tokenizer)

    def write(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Prompt:
        """Raises Refused for messages that the model's template does not take."""
        if self.tokenizer.chat_template is None:
            raise Refused("This model has no chat template; ask /v1/completions instead.", field="messages")
        told = self._plain([tool.told() for tool in tools]) if self.tell_tools else None
        render = chat_renderer(self.tokenizer, told or None)
        written = [self._message(message) for message in _in_call_order(messages)]
        try:
            text = render(written, True)
            starts = [
                len(before)
                for place, message in enumerate(written)
                if message["role"] == "assistant" and text.startswith(before := render(written[:place], True))
            ]
        except (ValueError, TypeError) as error:
            raise Refused(f"messages: {error}.", field="messages") from error
        ids: list[int] = []
        for start, end in zip([0, *starts], [*starts, len(text)], strict=True):
            ids += self.tokenizer(text[start:end], add_special_tokens=False)["input_ids"]
        return Prompt(tuple(ids), thinking=text.rstrip().endswith(THOUGHTS_START))

    def tokenise(self, prompt: str | Sequence[int], *, vocabulary: int) -> Prompt:
        """A prompt without a template; in it, special tokens are what they are."""
        if isinstance(prompt, str):
            return Prompt(tuple(self.tokenizer(prompt)["input_ids"]))
        if any(token >= vocabulary for token in prompt):
            raise Refused(f"prompt: holds {max(prompt)}; the model's tokens go up to {vocabulary - 1}.", field="prompt")
        return Prompt(tuple(prompt))

    def read(self, prompt: str | Sequence[int]) -> str:
        """The text of a prompt without a template, special tokens too."""
        return prompt if isinstance(prompt, str) else str(self.tokenizer.decode(list(prompt)))

    def _message(self, message: Message) -> dict[str, Any]:
        role = "system" if message.role == "developer" else message.role
        written: dict[str, Any] = {"role": role, "content": self._plain(message.content or "")}
        if message.tool_calls:
            written["tool_calls"] = [
                {
                    "type": "function",
                    "function": {
                        "name": self._plain(call.function.name),
                        "arguments": self._plain(_read_arguments(call.function.arguments)),
                    },
                }
                for call in message.tool_calls
            ]
        return written

    def _plain(self, value: Any) -> Any:
        match value:
            case str():
                return break_marks(value, self._marks)
            case list():
                return [self._plain(one) for one in value]
            case dict():
                return {self._plain(key): self._plain(one) for key, one in value.items()}
        return value


def _read_arguments(text: str) -> Any:
    """An object where the text is one: templates write it in their own way."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def _in_call_order(messages: Sequence[Message]) -> list[Message]:
    """Answers of tools in the order of the calls, as the policy was shown them in training."""
    ordered: list[Message] = []
    calls: dict[str, int] = {}
    start = 0
    for message in messages:
        if message.role != "tool":
            calls = {call.id: place for place, call in enumerate(message.tool_calls or ())}
            ordered.append(message)
            start = len(ordered)
            continue
        ordered.append(message)
        ordered[start:] = sorted(ordered[start:], key=lambda one: calls.get(one.tool_call_id or "", 0))
    return ordered
