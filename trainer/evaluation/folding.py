"""Forms of text in which answers are compared. Nothing here changes what a reader of Thai would see."""

import unicodedata

ZERO_WIDTH = dict.fromkeys(map(ord, "\u200b\u2060\ufeff"))
"""Word breaks that Thai text carries invisibly, and the byte-order mark."""
SPLIT_AM, AM = "\u0e4d\u0e32", "\u0e33"
"""Nikhahit and sara aa, which look like sara am; no normal form of Unicode joins them."""


def normalise(text: str) -> str:
    """NFC, no zero-width spaces, runs of white space as one space, none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).translate(ZERO_WIDTH).split())


def fold_digits(text: str) -> str:
    """Decimal digits of any script as 0 to 9: ๔๗ becomes 47."""
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)


def fold_thai(text: str) -> str:
    """NFC, no zero-width spaces, sara am as one letter, digits 0 to 9; line breaks stay."""
    return fold_digits(unicodedata.normalize("NFC", text).translate(ZERO_WIDTH).replace(SPLIT_AM, AM))
