"""A rollout as a conversation: what the policy thought, said and called in each turn, and what came of its calls."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from chanote.runs.pages import guess_language
from chanote.runs.rollout_words import spell_share, step_of, word_logprob
from trainer.contract.rollouts import StoredRollout
from trainer.contract.tool_calls import StoredToolCall

SHOWN = 4_000
"""Characters of an argument or an output that a card shows; the rest is a click away."""
_MESSAGE = re.compile(r"<\|im_start\|>(\w+)\n(.*?)(?:<\|im_end\|>\n?|\Z)", re.DOTALL)
_THOUGHT = r"<think>.*?(?:</think>|\Z)"
_CALL = r"<tool_call>.*?(?:</tool_call>|(?=<tool_call>)|\Z)"
_MARKED = re.compile(f"(?P<thought>{_THOUGHT})|(?P<call>{_CALL})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    look: str
    """Class of its likelihood; `is-masked` when it gives no gradient."""
    title: str = ""


@dataclass(frozen=True)
class Piece:
    """A part of a turn."""

    kind: str
    """`thought`, `said`, or `call`: the text of a call as the policy wrote it."""
    tokens: list[Token]
    rest: str
    """Text of its tokens beyond those that are shown one by one."""
    count: int
    lang: str

    @property
    def is_blank(self) -> bool:
        """Nothing to be seen, such as the line end between a thought and a call."""
        return not self.rest.strip() and not any(token.text.strip() for token in self.tokens)


@dataclass(frozen=True)
class CardPart:
    """A text of a card, cut where it is long."""

    name: str
    text: str
    whole: int
    """Characters that there are."""

    @property
    def is_cut(self) -> bool:
        return self.whole > len(self.text)


@dataclass(frozen=True)
class Card:
    """A tool call with what came of it."""

    number: int
    """Among the calls of the rollout, from 0."""
    call: StoredToolCall
    arguments: list[CardPart]
    output: CardPart

    @property
    def is_good(self) -> bool:
        return self.call.status == "ok"

    @property
    def told_tries(self) -> str:
        """Empty for the usual one."""
        return {0: "not made", 1: ""}.get(self.call.tries, f"{self.call.tries} tries")

    @property
    def is_any_cut(self) -> bool:
        return any(part.is_cut for part in self.arguments)


@dataclass(frozen=True)
class Turn:
    """A turn of the policy, and what its tools said."""

    number: int
    """From 1."""
    count: int
    pieces: list[Piece]
    cards: list[Card]
    told: str
    """What follows until the policy's next turn, as it was given to it."""
    told_count: int
    told_lang: str


@dataclass(frozen=True)
class PromptPart:
    role: str
    """Empty for a prompt whose template is not known."""
    text: str
    lang: str = field(default="")


def split_prompt(text: str) -> list[PromptPart]:
    """The messages of a prompt in the ChatML template; any other as it stands. An opened, empty turn is left out."""
    found = [PromptPart(role, said.strip(), guess_language(said[:4000])) for role, said in _MESSAGE.findall(text)]
    if not found:
        return [PromptPart("", text, guess_language(text[:4000]))]
    return [one for one in found if one.text not in ("", "<think>")]


def split_turns(stored: StoredRollout, calls: Sequence[StoredToolCall], *, most: int) -> list[Turn]:
    """The policy's turns; one for a rollout without tools. `most`: tokens that are shown one by one."""
    spans = read_spans(stored)
    cards = make_cards(calls)
    turns = []
    for number, (start, end) in enumerate(spans, start=1):
        following = spans[number][0] if number < len(spans) else len(stored.tokens)
        told = "".join(stored.tokens[end:following])
        turns.append(
            Turn(
                number=number,
                count=end - start,
                pieces=list(split_turn(stored, start, end, most=most)),
                cards=[card for card in cards if min(turn_of(card, cards), len(spans)) == number],
                told=told,
                told_count=following - end,
                told_lang=guess_language(told[:4000]),
            )
        )
    return turns


def read_spans(stored: StoredRollout) -> list[tuple[int, int]]:
    """Where its turns begin and end; one turn where that is not told, or cannot be."""
    edges = [edge for span in stored.turns for edge in span]
    if not edges or edges != sorted(edges) or edges[-1] > len(stored.tokens):
        return [(0, len(stored.tokens))]
    return list(stored.turns)


def turn_of(card: Card, cards: Sequence[Card]) -> int:
    """Number of the turn that made the call, from 1. Callers other than the trainer count from 0."""
    from_zero = any(one.call.turn == 0 for one in cards)
    return card.call.turn + from_zero


def split_turn(stored: StoredRollout, start: int, end: int, *, most: int) -> Iterator[Piece]:
    """Thoughts, calls, and what stands between them, each with its own tokens; one that spans two is divided."""
    texts = stored.tokens[start:end]
    ranges = find_ranges("".join(texts), calls=bool(stored.turns))
    place, left = start, texts[0] if texts else ""
    for kind, length in ranges:
        tokens: list[Token] = []
        rest, count = "", 0
        while length and place < end:
            taken, left = left[:length], left[length:]
            length -= len(taken)
            count += bool(taken)
            if taken and place < most:
                tokens.append(mark_token(stored, place, taken))
            else:
                rest += taken
            if not left:
                place += 1
                left = stored.tokens[place] if place < end else ""
        text = "".join(token.text for token in tokens[:2000])
        yield Piece(kind, tokens, rest, count, guess_language(text))


def find_ranges(text: str, *, calls: bool) -> list[tuple[str, int]]:
    """Kinds of the parts of a turn in their order, with their lengths in characters."""
    found: list[tuple[str, int]] = []
    at = 0
    if "</think>" in text and "<think>" not in text.partition("</think>")[0]:
        # The template opened the thoughts, so that the policy only closes them.
        at = text.index("</think>") + len("</think>")
        found.append(("thought", at))
    for match in _MARKED.finditer(text, at):
        if match["call"] is not None and not calls:
            continue
        if match.start() > at:
            found.append(("said", match.start() - at))
        found.append(("thought" if match["thought"] is not None else "call", match.end() - match.start()))
        at = match.end()
    if at < len(text) or not found:
        found.append(("said", len(text) - at))
    return found


def mark_token(stored: StoredRollout, place: int, text: str) -> Token:
    """With the step of its likelihood. Lists of unequal length are read as far as the tokens go."""
    trained = stored.trained[place] if place < len(stored.trained) else True
    logprob = stored.logprobs[place] if place < len(stored.logprobs) else None
    if not trained:
        return Token(text, "is-masked", "not trained")
    if logprob is None:
        return Token(text, "")
    return Token(text, step_of(logprob), f"{word_logprob(logprob)}, {spell_share(logprob)}")


def make_cards(calls: Sequence[StoredToolCall]) -> list[Card]:
    return [
        Card(number, call, list_arguments(call.arguments), _cut("Output", call.output))
        for number, call in enumerate(calls)
    ]


def list_arguments(arguments: str) -> list[CardPart]:
    """By name where the policy wrote an object, else its text as it stands."""
    try:
        values: Any = json.loads(arguments or "{}") if len(arguments) <= 20 * SHOWN else None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or not values:
        return [_cut("Arguments", arguments)]
    return [
        _cut(name[:80], value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in values.items()
    ]


def _cut(name: str, text: str) -> CardPart:
    return CardPart(name, text[:SHOWN], len(text))
