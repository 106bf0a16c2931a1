"""Sections that a text cites by number and law: `มาตรา 65 ทวิ แห่งประมวลรัษฎากร`, `§§ 433, 434 BGB`, `Art. 1 GG`."""

import re
from bisect import bisect_left

from toolsandbox.law.names import LawNames
from toolsandbox.law.sections import MARK, NUMBER, SectionKey, read_number
from toolsandbox.law.writing import normalise

_LIST = r"(?:\s*(?:,|และ|หรือ|กับ|ถึง|และ/หรือ|und|oder|and|or|bis|to)\s*)"
_CITATION = re.compile(rf"{MARK}\s*({NUMBER}(?:{_LIST}{NUMBER})*)(?![\d])")
_NUMBER = re.compile(NUMBER)
REACH = 160
"""Characters between a section's number and the law's name; further away they belong to other sentences."""


def find_citations(text: str, names: LawNames) -> list[tuple[int, SectionKey]]:
    """Law and section of each citation, in the text's order, each once.

    The law is the first one named after the number, within `REACH`; else the nearest one named before it; else the
    only one that the text names at all. A number with no law is no citation.
    """
    normalised = normalise(text)
    places = list(_CITATION.finditer(normalised))
    if not places:
        return []
    laws = [(begin, law) for begin, _, law in names.mentions(normalised)]
    named = {law for _, law in laws}
    only = next(iter(named)) if len(named) == 1 else None
    cited: dict[tuple[int, SectionKey], None] = {}
    for place in places:
        law = _choose_law(place.start(), place.end(), laws, only)
        if law is not None:
            for number in _NUMBER.findall(place[1]):
                cited[(law, read_number(number))] = None
    return list(cited)


def _choose_law(begin: int, end: int, laws: list[tuple[int, int]], only: int | None) -> int | None:
    """`laws` are places and laws in the text's order; `only` is the law of a text that names no other."""
    after = bisect_left(laws, end, key=_place)
    if after < len(laws) and laws[after][0] <= end + REACH:
        return laws[after][1]
    before = bisect_left(laws, begin, key=_place) - 1
    if before >= 0 and laws[before][0] >= begin - REACH:
        return laws[before][1]
    return only


def _place(mention: tuple[int, int]) -> int:
    return mention[0]
