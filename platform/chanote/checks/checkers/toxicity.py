"""Insults, obscenities, hate and threats, by lists of words."""

import re
from functools import lru_cache
from pathlib import Path

from pydantic import Field

from chanote.checks.base import Check, Part, Settings, register
from chanote.checks.block import Block
from chanote.checks.folding import fold_for_patterns
from chanote.checks.personal.finding import show_around

LISTS = Path(__file__).parents[1] / "words"
CODES = ("insult", "obscene", "hate", "threat", "own")
THAI = re.compile("[\u0e01-\u0e4e]")


class ToxicitySettings(Settings):
    words: tuple[str, ...] = Field(default=(), max_length=10_000)
    """Further words or phrases, one to a line; a star at the end takes any ending."""
    allowed: tuple[str, ...] = Field(default=(), max_length=10_000)
    """Words of the lists that are no finding here, one to a line."""


@register
class Toxicity(Check):
    name = "toxicity"
    version = 1
    title = "Toxicity"
    about = "Insults, obscenities, hate and threats in Thai, English and German, by lists that a project can extend."
    finds = {
        "insult": "holds an insult",
        "obscene": "holds an obscene word",
        "hate": "holds a word that demeans a group",
        "threat": "holds a threat",
        "own": "holds a word of the project's own list",
    }
    settings_class = ToxicitySettings
    settings: ToxicitySettings

    def look(self, block: Block) -> Part:
        part = Part(rows=len(block.rows))
        pattern, needles = build_pattern(self.settings.words, self.settings.allowed)
        for number, text in enumerate(block.texts):
            folded = fold_for_patterns(text)[0].casefold()
            if not any(needle in folded for needle in needles):
                continue
            held: dict[str, int] = {}
            for match in pattern.finditer(folded):
                code = match.lastgroup or ""
                if code == "innocent":
                    continue
                held[code] = held.get(code, 0) + 1
                if part.wants_sample(code):
                    part.add_sample(code, number, show_around(folded, *match.span()), word=match[0])
            for code, often in held.items():
                part.counts[f"rows_{code}"] += 1
                part.counts[code] += often
                part.found.append((number, self.codes[code], often))
        return part


@lru_cache(maxsize=4)
def build_pattern(words: tuple[str, ...], allowed: tuple[str, ...]) -> tuple[re.Pattern[str], tuple[str, ...]]:
    """One alternation, a named group for each code, and beginnings of which a text must hold one to match at all.

    What only contains a Thai word is matched before it, as innocent.
    """
    lists: dict[str, list[str]] = {code: [] for code in CODES}
    innocent: list[str] = []
    for path in sorted(LISTS.glob("*.txt")):
        code = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("["):
                code = line.strip("[]")
            elif line.startswith("not "):
                innocent += line.split()[1:]
            elif not line.startswith("#"):
                lists[code] += line.split()
    lists["own"] += [word.strip() for word in words if word.strip().rstrip("*")]
    needles: set[str] = set()
    unwanted = {word.strip().casefold() for word in allowed}
    groups = [f"(?P<innocent>{_join(innocent)})"] if innocent else []
    for code, listed in lists.items():
        kept = [word for word in listed if word.casefold() not in unwanted]
        for word in kept:
            stem = word.casefold().rstrip("*")
            needles |= {stem.replace("-", " "), stem.replace(" ", "-")}
        if kept:
            groups.append(f"(?P<{code}>{_join(kept)})")
    # What holds a longer one holds the shorter one in it.
    fewest = [one for one in needles if not any(one != other and other in one for other in needles)]
    return re.compile("|".join(groups)), tuple(sorted(fewest))


def _join(words: list[str]) -> str:
    """Longest first, so that a word does not hide the phrase that begins with it."""
    return "|".join(_spell(word.casefold()) for word in sorted(words, key=lambda one: (-len(one), one)))


def _spell(word: str) -> str:
    if THAI.search(word):
        # Not in the middle of a syllable: a vowel written before belongs to it, and so does a mark written above.
        return f"(?<![\u0e40-\u0e44]){re.escape(word)}(?![\u0e31\u0e34-\u0e3a\u0e47-\u0e4e])"
    spelled = re.escape(word.rstrip("*")).replace(r"\-", r"[ \-]").replace(r"\ ", r"[ \-]")
    return rf"(?<!\w){spelled}" + (r"\w{0,20}" if word.endswith("*") else r"(?!\w)")
