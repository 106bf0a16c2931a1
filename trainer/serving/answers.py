"""Completions in the form of OpenAI's API, whole and in pieces."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.sampling.engine import Completion, StopReason
from trainer.serving.sampling import SampledToken
from trainer.serving.speech import Called, Said, SpeechReader
from trainer.serving.token_text import TextStream, TokenNames

CUT_OFF = frozenset({StopReason.LENGTH, StopReason.CONTEXT})


@dataclass(frozen=True)
class Heading:
    """What every answer and every piece of one begins with."""

    kind: str
    model: str
    identity: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    def fields(self, *, piece: bool = False) -> dict[str, Any]:
        prefix, name = ("chatcmpl", "chat.completion") if self.kind == "chat" else ("cmpl", "text_completion")
        shown = f"{name}.chunk" if piece and self.kind == "chat" else name
        return {"id": f"{prefix}-{self.identity}", "object": shown, "created": self.created, "model": self.model}


def count_usage(prompt_tokens: int, completions: Sequence[int]) -> dict[str, int]:
    """`completions`: sampled tokens of each choice. A prompt that several choices share counts once."""
    sampled = sum(completions)
    return {"prompt_tokens": prompt_tokens, "completion_tokens": sampled, "total_tokens": prompt_tokens + sampled}


def name_call() -> str:
    return f"call_{secrets.token_hex(12)}"


def read_message(completion: Completion, reader: SpeechReader) -> tuple[dict[str, Any], str]:
    """The message of a finished chat completion, and why it ended."""
    parts = [*reader.feed(completion.text), *reader.end()]
    text = "".join(part.text for part in parts if isinstance(part, Said))
    calls = [_call(part) for part in parts if isinstance(part, Called)]
    message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None}
    if calls:
        message["tool_calls"] = calls
    return message, end_reason(completion, called=bool(calls))


def end_reason(completion: Completion, *, called: bool = False) -> str:
    if completion.stop_reason in CUT_OFF:
        return "length"
    return "tool_calls" if called else "stop"


class ChatPieces:
    """One choice of a streamed chat completion, as deltas."""

    def __init__(self, text: TextStream, reader: SpeechReader) -> None:
        self._text, self._reader = text, reader
        self._calls = 0

    def add(self, sampled: SampledToken) -> list[dict[str, Any]]:
        return self._deltas(self._reader.feed(self._text.add(sampled.token)))

    def finish(self, completion: Completion) -> tuple[list[dict[str, Any]], str]:
        parts = [*self._reader.feed(self._text.finish(completion.text)), *self._reader.end()]
        return self._deltas(parts), end_reason(completion, called=bool(self._calls))

    def _deltas(self, parts: Sequence[Said | Called]) -> list[dict[str, Any]]:
        deltas: list[dict[str, Any]] = []
        for part in parts:
            if isinstance(part, Said):
                deltas.append({"content": part.text})
            else:
                deltas.append({"tool_calls": [{"index": self._calls, **_call(part)}]})
                self._calls += 1
        return deltas


def _call(call: Called) -> dict[str, Any]:
    return {"id": name_call(), "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


class ShownLogprobs:
    """Log-probabilities of sampled tokens: at the temperature of sampling, before top_p."""

    def __init__(self, names: TokenNames) -> None:
        self._names = names

    def chat(self, tokens: Sequence[SampledToken]) -> dict[str, Any]:
        content = []
        for one in tokens:
            likeliest = [self._entry(token, logprob) for token, logprob in one.likeliest]
            content.append({**self._entry(one.token, one.logprob), "top_logprobs": likeliest})
        return {"content": content, "refusal": None}

    def completion(self, tokens: Sequence[SampledToken], *, offset: int = 0) -> dict[str, Any]:
        """`offset`: characters of the text before these tokens."""
        texts = [self._names.of(one.token)[0] for one in tokens]
        places = []
        for text in texts:
            places.append(offset)
            offset += len(text)
        return {
            "tokens": texts,
            "token_logprobs": [one.logprob for one in tokens],
            "top_logprobs": [self._likeliest(one) for one in tokens],
            "text_offset": places,
        }

    def echo(self, first: int, tokens: Sequence[SampledToken]) -> dict[str, Any]:
        """As `completion`, after the first token of a prompt, which nothing foretells."""
        name = self._names.of(first)[0]
        rest = self.completion(tokens, offset=len(name))
        return {
            "tokens": [name, *rest["tokens"]],
            "token_logprobs": [None, *rest["token_logprobs"]],
            "top_logprobs": [None, *rest["top_logprobs"]],
            "text_offset": [0, *rest["text_offset"]],
        }

    def _likeliest(self, one: SampledToken) -> dict[str, float]:
        """By text, with the token itself, as OpenAI has it. Of tokens that read alike the likeliest counts."""
        found: dict[str, float] = {}
        for token, logprob in (*one.likeliest, (one.token, one.logprob)):
            found.setdefault(self._names.of(token)[0], logprob)
        return found

    def _entry(self, token: int, logprob: float) -> dict[str, Any]:
        text, written = self._names.of(token)
        return {"token": text, "logprob": logprob, "bytes": written}
