"""Sampled tokens → text as it grows, and the text and bytes of single tokens."""

from collections.abc import Sequence
from functools import cache
from typing import Any

BROKEN = "\N{REPLACEMENT CHARACTER}"


class TextStream:
    """The text of one completion, never more of it than the finished completion will have.

    A character that several tokens make is held back until it is whole, and so is text that may begin a stop string.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str]) -> None:
        self._tokenizer, self._stops = tokenizer, [stop for stop in stops if stop]
        self._core = getattr(tokenizer, "backend_tokenizer", None)
        """Decodes some tokens in microseconds, where the way around it takes half a millisecond."""
        self._ids: list[int] = []
        self._start = self._done = 0
        """Tokens that are decoded for the next piece, and those of them whose text is out."""
        self._held = ""
        self._given = ""
        self._stopped = False

    def add(self, token: int) -> str:
        """What may be shown now."""
        self._ids.append(token)
        text = self._decode(self._ids[self._start :])
        if text.endswith(BROKEN) or self._stopped:
            return ""
        new = text[len(self._decode(self._ids[self._start : self._done])) :]
        self._start, self._done = self._done, len(self._ids)
        self._held += new
        place = min((found for stop in self._stops if (found := self._held.find(stop)) >= 0), default=None)
        if place is not None:
            self._stopped = True
            return self._give(place)
        return self._give(len(self._held) - max(map(self._overlap, self._stops), default=0))

    def finish(self, whole: str) -> str:
        """The rest of the finished text."""
        return whole[len(self._given) :] if whole.startswith(self._given) else ""

    def _give(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        self._given += text
        return text

    def _overlap(self, stop: str) -> int:
        sizes = range(min(len(stop) - 1, len(self._held)), 0, -1)
        return next((size for size in sizes if self._held.endswith(stop[:size])), 0)

    def _decode(self, ids: Sequence[int]) -> str:
        if not ids:
            return ""
        if self._core is not None:
            return str(self._core.decode(list(ids), skip_special_tokens=True))
        text = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text)


class TokenNames:
    """Single tokens for people and programs that look at log-probabilities."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: dict[int, tuple[str, list[int] | None]] = {}

    def of(self, token: int) -> tuple[str, list[int] | None]:
        """Its text, special tokens too, and its bytes; None for bytes that nobody can tell."""
        if token not in self._known:
            text = str(self._tokenizer.decode([token], clean_up_tokenization_spaces=False))
            self._known[token] = (text, list(text.encode()) if BROKEN not in text else self._read_bytes(token))
        return self._known[token]

    def _read_bytes(self, token: int) -> list[int] | None:
        written = self._tokenizer.convert_ids_to_tokens(token) or ""
        values = [_byte_letters().get(letter) for letter in written]
        return [value for value in values if value is not None] if None not in values and values else None


@cache
def _byte_letters() -> dict[str, int]:
    """The letters by which byte-level tokenizers write bytes: printable ones of Latin-1 stand for themselves, the
    others follow from U+0100 on.
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [value for value in range(256) if value not in plain]
    return {chr(value): value for value in plain} | {chr(256 + place): value for place, value in enumerate(others)}
