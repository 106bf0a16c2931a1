"""Two ways to make spellings of one text alike: for patterns, which keep their place, and for comparing texts.

`fold_for_patterns` keeps a way back to the original, so that what is found can be masked there. `fold_for_comparing`
keeps letters, marks and digits only, in one case: layout and punctuation hide no copy.
"""

import re
import sys
import unicodedata
from functools import cache
from typing import Any

import numpy

INVISIBLE = "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff"
_INVISIBLE = re.compile(f"[{INVISIBLE}]")
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d\u2043"), "-")
_SPACES = dict.fromkeys([0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " ")
_WIDE = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}


def _list_digits() -> dict[int, str]:
    """Digits of every script (Thai ๑, full-width １, …) → 0 to 9."""
    digits = {}
    for code in range(0x660, 0x1FBFA):
        character = chr(code)
        if unicodedata.category(character) == "Nd":
            digits[code] = str(unicodedata.digit(character))
    return digits


_DIGITS = _list_digits()
_PATTERN_TABLE = {**_DIGITS, **_WIDE, **_SPACES, **_DASHES}
# A class of ranges is matched several times faster than a class of single characters.
_FOLDABLE = re.compile(
    "[\u0e50-\u0e59\u0660-\u0669\u06f0-\u06f9\u0966-\u096f\u0ed0-\u0ed9\u1040-\u1049\u17e0-\u17e9\uff01-\uff5e\u2010-\u2015"
    "\u2212\ufe63\u2043\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]|[\u07c0-\u0de6\u0f20-\u1c59\ua620-\uabf9\U000104a0-\U0001fbf9]"
)


def fold_for_patterns(text: str) -> tuple[str, "numpy.ndarray[Any, Any] | None"]:
    """The text with digits 0 to 9, plain spaces and hyphens, without invisible characters.

    The second value gives, for each character of the folded text and for its end, the place in the original; None
    where both are the same.
    """
    if text.isascii():
        return text, None
    if _FOLDABLE.search(text):
        text = text.translate(_PATTERN_TABLE)
    if not _INVISIBLE.search(text):
        return text, None
    codes = encode(text)
    kept = numpy.flatnonzero(~_invisible_table()[codes])
    return decode(codes[kept]), numpy.append(kept, len(text))


def encode(text: str) -> "numpy.ndarray[Any, Any]":
    """Code points of a text."""
    return numpy.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def decode(codes: "numpy.ndarray[Any, Any]") -> str:
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


@cache
def _invisible_table() -> "numpy.ndarray[Any, Any]":
    table = numpy.zeros(sys.maxunicode + 1, dtype=bool)
    for match in _INVISIBLE.finditer("".join(map(chr, range(0x10000)))):
        table[match.start()] = True
    return table


@cache
def _comparing_table() -> "numpy.ndarray[Any, Any]":
    """Code point → what it counts as in comparing; 0: nothing."""
    table = numpy.zeros(sys.maxunicode + 1, dtype="<u4")
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character)[0] in "LMN":
            folded = character.casefold()
            table[code] = ord(folded) if len(folded) == 1 else code
    table[[code for code in range(0x10000) if _INVISIBLE.match(chr(code))]] = 0
    for code, digit in _DIGITS.items():
        table[code] = ord(digit)
    for code, plain in _WIDE.items():
        table[code] = ord(plain.casefold()) if plain.isalnum() else 0
    return table


def fold_for_comparing(text: str) -> "numpy.ndarray[Any, Any]":
    """Code points (uint32) of the letters, marks and digits of a text: NFC, one case, digits 0 to 9.

    Thai is written in two ways that look alike: nikhahit and sara aa for sara am, two sara e for sara ae. Both count
    as the single letter.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
        codes = _comparing_table()[encode(text)]
    else:
        codes = _comparing_table()[numpy.frombuffer(text.encode(), dtype="u1")]
    codes = codes[codes != 0]
    return _join_thai(codes)


def _join_thai(codes: "numpy.ndarray[Any, Any]") -> "numpy.ndarray[Any, Any]":
    if len(codes) < 2:
        return codes
    first, second = codes[:-1], codes[1:]
    am = (first == 0xE4D) & (second == 0xE32)
    ae = (first == 0xE40) & (second == 0xE40)
    if not am.any() and not ae.any():
        return codes
    codes = codes.copy()
    codes[:-1][am] = 0xE33
    codes[:-1][ae] = 0xE41
    dropped = numpy.zeros(len(codes), dtype=bool)
    dropped[1:] = am | ae
    return codes[~dropped]
