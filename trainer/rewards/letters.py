"""Counting letters by script. Digits, punctuation, symbols and combining marks never count."""

from collections.abc import Sequence

import regex

# Fenced code (to the end where it is never closed), code in the line, addresses.
CODE = regex.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+", regex.DOTALL)
LETTER = regex.compile(r"\p{L}")


def split_code(text: str) -> tuple[str, str]:
    """The text without code and web addresses, and these."""
    return CODE.sub(" ", text), " ".join(CODE.findall(text))


def count_letters(text: str) -> int:
    return len(LETTER.findall(text))


def find_words(text: str, scripts: Sequence[str], *, others: bool = False) -> list[str]:
    """Runs of letters, with their marks, that belong to one of the scripts; with `others`, to none of them.

    Letters that Unicode assigns to no script (ℝ, µ) are never foreign.
    """
    listed = "".join(rf"\p{{Script={script}}}" for script in scripts)
    kind = (
        rf"[[\p{{L}}]--[{listed}\p{{Script=Common}}\p{{Script=Inherited}}]]" if others else rf"[[\p{{L}}]&&[{listed}]]"
    )
    return regex.findall(rf"(?V1){kind}(?:{kind}|\p{{M}})*", text) if scripts or others else []


def unlettered(text: str, skipped: str) -> float:
    """Value of a text without letters: 1 for numbers and the like, 0 for nothing, or where its letters were skipped."""
    return float(bool(text.strip()) and not count_letters(skipped))
