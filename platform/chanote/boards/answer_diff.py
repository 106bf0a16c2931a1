"""Two models' answers to one item, word by word. Thai is cut into words, since letters alone would agree by chance."""

import re

from chanote.checks.tokens import split_words
from chanote.review.texts import Passage, compare_pieces

PIECES = re.compile(
    r"\s+|[\u0e01-\u0e4e]+|[\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u4e00-\u9fff]|"
    r"[^\W\u0e01-\u0e4e\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u4e00-\u9fff]+|[^\w\s]|."
)
"""White space, a run of Thai, a single sign of another writing without spaces, a word, a mark."""
LONGEST = 1_500
"""Pieces of an answer that are compared: the time grows with the product of two lengths."""


def split_pieces(text: str) -> list[str]:
    """Words, marks and white space; joined they are the text again."""
    pieces: list[str] = []
    for piece in PIECES.findall(text):
        words = split_words(piece) if "\u0e01" <= piece[0] <= "\u0e4e" else [piece]
        pieces += words if "".join(words) == piece else [piece]
    return pieces


def compare_answers(a: str, b: str) -> tuple[list[Passage], int]:
    """What both wrote, what only A wrote (`del`) and what only B did (`add`), in reading order; and how many pieces of
    either were not compared since the answers are too long."""
    first, second = split_pieces(a), split_pieces(b)
    left = max(0, len(first) - LONGEST) + max(0, len(second) - LONGEST)
    return compare_pieces(first[:LONGEST], second[:LONGEST]), left
