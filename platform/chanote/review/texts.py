"""Two answers word by word: what the second leaves out and what it adds."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

PIECES = re.compile(r"\s+|[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u4e00-\u9fff]|\w+|[^\w\s]")
"""Words, and single signs of writing that has no spaces between words."""
LONGEST = 4_000
"""Pieces of a text that are compared: the time grows with the product of two lengths."""


@dataclass(frozen=True, slots=True)
class Passage:
    text: str
    change: str = ""
    """`add`, `del`, or nothing."""


def compare_words(before: str, after: str) -> list[Passage]:
    """The second text with what it has more and less than the first. What lies beyond LONGEST follows uncompared."""
    old, new = PIECES.findall(before), PIECES.findall(after)
    rest = "".join(new[LONGEST:])
    passages = compare_pieces(old[:LONGEST], new[:LONGEST])
    if rest:
        passages.append(Passage(rest))
    return passages


def compare_pieces(old: Sequence[str], new: Sequence[str]) -> list[Passage]:
    """What both have, what only the first has (`del`) and what only the second does (`add`), in reading order."""
    passages: list[Passage] = []
    for tag, a1, a2, b1, b2 in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag == "equal":
            passages.append(Passage("".join(new[b1:b2])))
            continue
        if a2 > a1:
            passages.append(Passage("".join(old[a1:a2]), "del"))
        if b2 > b1:
            passages.append(Passage("".join(new[b1:b2]), "add"))
    return passages


def share_kept(passages: Sequence[Passage]) -> float | None:
    """Share of the characters of both texts that they have in common; None where both are empty."""
    equal = 2 * sum(len(one.text) for one in passages if not one.change)
    total = equal + sum(len(one.text) for one in passages if one.change)
    return equal / total if total else None
