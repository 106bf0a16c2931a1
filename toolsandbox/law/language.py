"""What depends on a corpus' language: how a text falls into words, and how laws are abbreviated."""

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from toolsandbox.law.writing import normalise

_RUN = re.compile(r"[\u0e01-\u0e2e\u0e30-\u0e3a\u0e40-\u0e4e]+|[^\W\u0e00-\u0e7f_]+")
_THAI = re.compile("[\u0e00-\u0e7f]")
LONGEST_RUN = 600
"""Characters of Thai given to the word splitter at a time: its time grows faster than the length."""


@dataclass(frozen=True)
class Language:
    name: str
    words_by: str
    """Names the splitter and its version: an index is only valid for the words it was built with."""
    split: Callable[[str], list[str]]
    """Takes normalised text."""
    abbreviations: dict[str, str]
    """Beginning of a law's name, as people shorten it, to the full word. Normalised, without blanks."""


def split_words(text: str) -> list[str]:
    """Runs of letters and digits."""
    return _RUN.findall(text)


def _thai() -> Language:
    # Its import would otherwise make a folder in the user's home.
    os.environ.setdefault("PYTHAINLP_READ_ONLY", "1")
    os.environ.setdefault("PYTHAINLP_OFFLINE", "1")
    from pythainlp.tokenize import word_dict_trie
    from pythainlp.tokenize.newmm import segment

    dictionary = word_dict_trie()

    def split(text: str) -> list[str]:
        words: list[str] = []
        for run in _RUN.findall(text):
            if run[0] >= "\u0e01" and run[0] <= "\u0e4e":
                for begin in range(0, len(run), LONGEST_RUN):
                    words.extend(segment(run[begin : begin + LONGEST_RUN], dictionary))
            else:
                words.append(run)
        return words

    split("ภาษาไทย")
    shorts = {
        "พ.ร.บ.": "พระราชบัญญัติ",
        "พรบ.": "พระราชบัญญัติ",
        "พรบ": "พระราชบัญญัติ",
        "พ.ร.ก.": "พระราชกำหนด",
        "พรก.": "พระราชกำหนด",
        "พรก": "พระราชกำหนด",
        "ป.พ.พ.": "ประมวลกฎหมายแพ่งและพาณิชย์",
        "ปพพ": "ประมวลกฎหมายแพ่งและพาณิชย์",
        "ป.รัษฎากร": "ประมวลรัษฎากร",
    }
    return Language(
        name="th",
        words_by=f"newmm {version('pythainlp')}",
        split=split,
        abbreviations={normalise(short): normalise(full) for short, full in shorts.items()},
    )


def open_language(name: str) -> Language:
    """`th` splits by PyThaiNLP's newmm; any other language by runs of letters."""
    if name == "th":
        return _thai()
    if not re.fullmatch("[a-z]{2,3}", name):
        raise ValueError(f"language {name!r}: write its ISO 639 code, such as th or de")
    return Language(name=name, words_by="letter runs 1", split=split_words, abbreviations={})


def guess_language(texts: Sequence[str]) -> str:
    """`th` when most of the letters are Thai, else `xx`, which is split by runs of letters."""
    letters: Counter[bool] = Counter()
    for text in texts[:: max(1, len(texts) // 200)]:
        letters.update(bool(_THAI.match(letter)) for letter in text if letter.isalpha())
    return "th" if letters[True] > letters[False] else "xx"
