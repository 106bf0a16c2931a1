"""Which law a text means. A name that could be several is answered with all of them; nothing is guessed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from toolsandbox.law.language import Language
from toolsandbox.law.writing import normalise

SHORTEST_PART = 3
"""Letters that a part of a name must have: a single letter is in almost every name."""
SHORTEST_MENTION = 6
"""Letters of a name that is looked for inside running text, where word borders may be unwritten."""
_DROPPED = frozenset(" \"'“”‘’„«»")
_YEAR = re.compile(r"(?:พ\.?ศ\.?|พุทธศักราช)(\d{4})")
_SHORT = re.compile(r"(.+)\(([^()\d]{2,12})\)")
_SHOWN = 10


@dataclass(frozen=True)
class NameAnswer:
    """Exactly one law, or none with those that the request may have meant (best first)."""

    law: int | None
    candidates: tuple[int, ...] = ()
    """Two or more when the request is ambiguous; names that look alike when it is unknown."""
    ambiguous: bool = False


def name_key(written: str) -> str:
    """Normalised, without blanks and quotation marks."""
    return "".join(letter for letter in normalise(written) if letter not in _DROPPED)


class LawNames:
    """The laws of one corpus, L names in the corpus' order."""

    def __init__(self, names: Sequence[str], language: Language) -> None:
        self.names = list(names)
        self._language = language
        self.keys = [name_key(name) for name in names]
        self.stems = [_YEAR.sub("", key) for key in self.keys]
        """Names without their year: two versions of a law share the stem."""
        self._years = [set(_YEAR.findall(key)) for key in self.keys]
        self._by_key: dict[str, list[int]] = {}
        self._forms: list[tuple[int, str]] = []
        self._shorts: dict[str, list[int]] = {}
        """What a name gives in brackets at its end, as in `Grundgesetz (GG)`; found in texts as a whole word only."""
        for law, (key, stem) in enumerate(zip(self.keys, self.stems, strict=True)):
            forms = {key, stem}
            if short := _SHORT.fullmatch(stem):
                forms |= {short[1], short[2]}
                self._shorts.setdefault(short[2], []).append(law)
            for form in sorted(forms):
                self._by_key.setdefault(form, []).append(law)
            self._forms += [(law, form) for form in sorted(forms - {key}) or [key] if len(form) >= SHORTEST_MENTION]
        shorts = "|".join(re.escape(short) for short in sorted(self._shorts, key=len, reverse=True))
        self._short_pattern = re.compile(rf"(?<!\w)(?:{shorts})(?!\w)")

    def find(self, written: str) -> NameAnswer:
        """Exact name, then the name without its year, then a part of one name, then a name inside the request.

        A year that the request gives must be the law's own.
        """
        normalised = normalise(written)
        key = self._spell_out(name_key(written))
        asked = set(_YEAR.findall(key))
        for matches in (self._by_key.get(key, []), self._parts(key), self._inside(normalised)):
            fitting = [law for law in matches if asked <= self._years[law]]
            if fitting:
                return self._answer(fitting)
        return NameAnswer(None, candidates=self._alike(key))

    def is_whole(self, written: str, law: int) -> bool:
        """Whether a text is nothing but this law's name, with or without its year."""
        return law in self._by_key.get(self._spell_out(name_key(written)), [])

    def _answer(self, laws: list[int]) -> NameAnswer:
        if len(laws) == 1:
            return NameAnswer(laws[0])
        return NameAnswer(None, candidates=tuple(laws[:_SHOWN]), ambiguous=True)

    def _spell_out(self, key: str) -> str:
        """Abbreviations that laws of this language begin with, longest first."""
        for short in sorted(self._language.abbreviations, key=len, reverse=True):
            full = self._language.abbreviations[short]
            if key.startswith(short):
                rest = key[len(short) :]
                return full + rest
        return key

    def _parts(self, key: str) -> list[int]:
        """Laws whose name holds the request; its year, which `find` compares, is no part of a name."""
        stem = _YEAR.sub("", key)
        if len(stem) < SHORTEST_PART or not any(letter.isalpha() for letter in stem):
            return []
        return [law for law, name in enumerate(self.stems) if stem in name]

    def mentions(self, normalised: str) -> list[tuple[int, int, int]]:
        """Where a normalised text names laws: begin, end and law, in the text's order, none inside another."""
        places = [place for place, letter in enumerate(normalised) if letter not in _DROPPED]
        key = "".join(normalised[place] for place in places)
        found = []
        for law, form in self._forms:
            begin = key.find(form)
            while begin >= 0:
                end = begin + len(form)
                year = _YEAR.match(key, end)
                if year is None or not self._years[law] or year[1] in self._years[law]:
                    found.append((places[begin], places[end - 1] + 1, law))
                begin = key.find(form, end)
        if self._shorts:
            pattern = self._short_pattern
            found += [
                (short.start(), short.end(), law)
                for short in pattern.finditer(normalised)
                for law in self._shorts[short[0]]
            ]
        found.sort(key=lambda mention: (mention[0], -mention[1], mention[2]))
        kept: list[tuple[int, int, int]] = []
        for mention in found:
            inside = kept and mention[1] <= kept[-1][1] and mention[:2] != kept[-1][:2]
            if not inside:
                kept.append(mention)
        return kept

    def _inside(self, normalised: str) -> list[int]:
        """Laws named inside the request, without those that are only a part of another one's name."""
        return sorted({law for _, _, law in self.mentions(normalised)})

    def _alike(self, key: str) -> tuple[int, ...]:
        """The three names that share most pairs of letters with the request, where they share a third (Dice)."""
        asked = _pairs(key)
        scored = []
        for law, name in enumerate(self.keys):
            pairs = _pairs(name)
            share = 2 * len(asked & pairs) / max(1, len(asked) + len(pairs))
            if share >= 1 / 3:
                scored.append((-share, law))
        return tuple(law for _, law in sorted(scored)[:3])


def _pairs(key: str) -> set[str]:
    return {key[place : place + 2] for place in range(len(key) - 1)}
