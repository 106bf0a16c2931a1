"""What a policy writes, as it comes: text for the reader, and tool calls.

The same reader takes an answer in pieces or whole and gives the same. Calls are those of `rollouts.calls`: what stands
in thoughts is no call, and one that cannot be read stays in the text as it was written, so that nothing is lost. White
space between text and a call is the template's, and left out: the next prompt then reads as the policy wrote it.
Unlike `read_calls`, which sees the whole turn, this takes text before a `</think>` that nothing opened for an answer.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trainer.rollouts.calls import THOUGHTS_END, Call, read_calls
from trainer.serving.wire import as_arguments

THOUGHTS_START, CALL_START, CALL_END = "<think>", "<tool_call>", "</tool_call>"


@dataclass(frozen=True)
class Said:
    text: str


@dataclass(frozen=True)
class Called:
    name: str
    arguments: str
    """JSON text; as the policy wrote it where that is none."""


class SpeechReader:
    """One answer. `tools`: name → JSON schema of the arguments; None: nothing is read as a call."""

    def __init__(self, tools: dict[str, dict[str, Any]] | None, *, thinking: bool = False) -> None:
        """`thinking`: the prompt ends within thoughts."""
        self._tools = tools
        self._thinking: bool | None = thinking or None
        """None: nothing was written yet that would tell."""
        self._held = ""
        self._space = ""
        """White space that may stand before a call."""
        self._called = False

    def feed(self, text: str) -> list[Said | Called]:
        """What is certain now."""
        if self._tools is None:
            return [Said(text)] if text else []
        self._held += text
        return list(_join(self._read()))

    def end(self) -> list[Said | Called]:
        """What was held back."""
        rest, space = self._held, self._space
        self._held = self._space = ""
        if rest.strip() or not self._called:
            return [Said(space + rest)] if space + rest else []
        return []

    def _read(self) -> Iterator[Said | Called]:
        while self._held:
            before = len(self._held)
            if self._thinking is None:
                start = self._held.lstrip()
                if len(start) < len(THOUGHTS_START) and THOUGHTS_START.startswith(start):
                    return
                self._thinking = start.startswith(THOUGHTS_START)
            if self._thinking:
                yield from self._read_thoughts()
            elif self._held.startswith(CALL_START):
                yield from self._read_call()
            else:
                yield from self._read_text()
            if len(self._held) == before:
                return

    def _read_thoughts(self) -> Iterator[Said]:
        place = self._held.find(THOUGHTS_END)
        if place >= 0:
            self._thinking = False
            yield from self._let_go(place + len(THOUGHTS_END))
        else:
            yield from self._let_go(len(self._held) - _overlap(self._held, THOUGHTS_END))

    def _read_text(self) -> Iterator[Said]:
        place = self._held.find(CALL_START)
        yield from self._let_go(place if place >= 0 else len(self._held) - _overlap(self._held, CALL_START))

    def _read_call(self) -> Iterator[Said | Called]:
        closed = self._held.find(CALL_END, len(CALL_START))
        opened = self._held.find(CALL_START, len(CALL_START))
        if opened >= 0 and (closed < 0 or opened < closed):
            yield from self._let_go(opened)
        elif closed >= 0:
            end = closed + len(CALL_END)
            found = _understand(self._held[:end], self._tools or {})
            if found is None:
                yield from self._let_go(end)
            else:
                self._held, self._space, self._called = self._held[end:], "", True
                yield found

    def _let_go(self, length: int) -> Iterator[Said]:
        """So many characters are text; white space at their end waits for what follows."""
        text = self._space + self._held[:length]
        self._held = self._held[length:]
        kept = text.rstrip()
        self._space = text[len(kept) :]
        if kept:
            yield Said(kept)


def _understand(written: str, tools: dict[str, dict[str, Any]]) -> Called | None:
    """The call of one pair of tags; None for one without a name. A tool that is not there is the caller's to refuse."""
    calls = read_calls(written, tools)
    if len(calls) != 1 or not calls[0].name:
        return None
    return Called(calls[0].name, _arguments(calls[0]))


def _arguments(call: Call) -> str:
    if call.fault and not call.arguments:
        try:
            given = json.loads(call.written)["arguments"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return as_arguments(call.arguments)
        return given if isinstance(given, str) and not re.search("[\ud800-\udfff]", given) else as_arguments(given)
    return as_arguments(call.arguments)


def _overlap(text: str, mark: str) -> int:
    """Characters at the end of the text with which the mark may begin."""
    return next((size for size in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:size])), 0)


def _join(parts: Iterator[Said | Called]) -> Iterator[Said | Called]:
    text = ""
    for part in parts:
        if isinstance(part, Said):
            text += part.text
            continue
        if text:
            yield Said(text)
            text = ""
        yield part
    if text:
        yield Said(text)
