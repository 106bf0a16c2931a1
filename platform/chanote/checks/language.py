"""The script and the language of each row of a block, from its letters."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy

from chanote.checks.folding import encode
from chanote.checks.grams import Array
from chanote.datasets.statistics import BLOCKS

SCRIPTS = tuple(name for name, _ in BLOCKS)
BY_SCRIPT = {
    "Thai": "th", "Lao": "lo", "Khmer": "km", "Burmese": "my", "Hangul": "ko", "Greek": "el", "Hebrew": "he",
    "Arabic": "ar", "Devanagari": "hi", "Cyrillic": "ru", "Han": "zh", "Kana": "ja",
}  # fmt: skip
"""Script → the language most written in it; Japanese shows by its kana, Latin by words."""
GROUPS = {"Thai": "Thai", "Latin": "Latin", "Han": "CJK", "Kana": "CJK", "Hangul": "CJK"}
FUNCTION_WORDS = {
    "en": "the of and to in is that for it as with was on are be this by from or not you have an which",
    "de": "der die das und ist nicht ein eine zu den von mit sich auf für dem des im es auch wird oder als",
    "fr": "le la les et des est une dans que qui pour pas sur au avec ce il par plus sont du",
    "es": "el los las y del que es una por con para no se su al lo como más pero en",
    "it": "il che di è per un una non sono della con del si anche come gli nel alla ma",
    "nl": "het een van en is dat niet te zijn op voor met aan er ook als bij door maar",
    "pt": "o os que não uma para com por mais do da em é se ao dos como mas foi",
    "id": "yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena ada adalah",
    "vi": "và của là không có được cho một người trong các với những này khi đã để",
}
"""Language written in Latin letters → small words that tell it from the others."""
LANGUAGES = (*sorted({*BY_SCRIPT.values(), *FUNCTION_WORDS}), "und")
"""`und`: letters, but not enough to tell."""
LOOKED_AT = 2000
"""Characters in which small words are counted."""
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Shares:
    """Letters of each script in a row."""

    letters: int
    by_script: dict[str, int]
    language: str

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """Thai, Latin, CJK or another script with its share, the greatest first."""
        groups: dict[str, int] = {}
        for script, count in self.by_script.items():
            group = GROUPS.get(script, script)
            groups[group] = groups.get(group, 0) + count
        return sorted(((name, count / self.letters) for name, count in groups.items()), key=lambda pair: -pair[1])


@cache
def _script_table() -> Array:
    """Code point → place of its script in SCRIPTS, counted from 1; 0: no letter of these."""
    table = numpy.zeros(0x110000, dtype=numpy.uint8)
    for place, (_, spans) in enumerate(BLOCKS, 1):
        for low, high in spans:
            table[low : high + 1] = place
    # Baht sign, digits and signs of Thai are no letters of it.
    table[0xE3F] = table[0xE4F] = 0
    table[0xE50:0xE5C] = 0
    return table


def measure_scripts(texts: Sequence[str]) -> list[Shares]:
    lengths = numpy.array([len(text) for text in texts], dtype=numpy.int64)
    kinds = len(SCRIPTS) + 1
    counts = numpy.zeros((len(texts), kinds), dtype=numpy.int64)
    if lengths.sum():
        scripts = _script_table()[encode("".join(texts))]
        owners = numpy.repeat(numpy.arange(len(texts), dtype=numpy.int64), lengths)
        counts += numpy.bincount(owners * kinds + scripts, minlength=len(texts) * kinds).reshape(counts.shape)
    found = []
    for text, row in zip(texts, counts[:, 1:].tolist(), strict=True):
        by_script = {script: count for script, count in zip(SCRIPTS, row, strict=True) if count}
        found.append(Shares(sum(row), by_script, tell_language(text, by_script)))
    return found


def tell_language(text: str, by_script: dict[str, int]) -> str:
    """BCP 47 tag; empty without letters."""
    letters = sum(by_script.values())
    if not letters:
        return ""
    if by_script.get("Kana", 0) > 0.05 * letters:
        return "ja"
    script = max(by_script, key=lambda one: by_script[one])
    return BY_SCRIPT.get(script, "") if script != "Latin" else tell_latin(text)


def tell_latin(text: str) -> str:
    counts = dict.fromkeys(FUNCTION_WORDS, 0)
    for word in _WORD.findall(text[:LOOKED_AT].lower()):
        for language in _languages_of(word):
            counts[language] += 1
    best = max(counts, key=lambda one: counts[one])
    return best if counts[best] else "und"


def _languages_of(word: str) -> tuple[str, ...]:
    return _word_table().get(word, ())


@cache
def _word_table() -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for language, words in FUNCTION_WORDS.items():
        for word in words.split():
            table[word] = (*table.get(word, ()), language)
    return table
