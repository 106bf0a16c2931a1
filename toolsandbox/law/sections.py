"""Section numbers: what `๖๕ ทวิ`, `มาตรา 65ทวิ` and `65 ทวิ (2)` have in common, and which comes first."""

import re
from collections.abc import Sequence
from functools import lru_cache

from toolsandbox.law.writing import normalise

_ORDINAL_WORDS = """
ทวิ ตรี จัตวา เบญจ ฉ สัตต อัฏฐ นว ทศ เอกาทศ ทวาทศ เตรส จตุทศ ปัณรส โสฬส สัตตรส อัฏฐารส เอกูนวีสติ วีสติ
เอกวีสติ ทวาวีสติ เตวีสติ จตุวีสติ ปัญจวีสติ ฉัพพีสติ
"""
ORDINALS = {word: number for number, word in enumerate(_ORDINAL_WORDS.split(), 2)}
"""Pali ordinals that number the sections put in after a section: 65 ทวิ is the second 65."""

_ORDINAL = "|".join(sorted(map(normalise, ORDINALS), key=len, reverse=True))
_VALUE = {normalise(word): number for word, number in ORDINALS.items()}
MARK = r"(?:มาตรา|ม\.|ข้อ|sections?|sec\.?|articles?|artikel|art\.?|paragraph|par\.|§{1,2})"
NUMBER = rf"\d{{1,6}}(?:\s?(?:{_ORDINAL})(?![ก-ฮะ-ูเ-์])|[a-z]{{1,2}}(?![a-zäöüß]))?(?:/\d{{1,4}})*"
_SECTION = re.compile(rf"(?:{MARK}\s*)?({NUMBER})(?:\s*(?:\(|วรรค|อนุมาตรา|abs|satz|nr|paragraph|subsection).*)?", re.S)
_PARTS = re.compile(rf"(\d+)\s?(?:({_ORDINAL})|([a-z]+))?((?:/\d+)*)")

SectionKey = tuple[int, int, str, tuple[int, ...]]
"""Number, ordinal (1 when there is none), letters, numbers behind slashes. Tuples sort as sections do."""


@lru_cache(maxsize=65_536)
def read_section(written: str) -> SectionKey | None:
    """The key of a section number; None when the text is no section number. What names a part of it is left off."""
    found = _SECTION.fullmatch(normalise(written))
    return read_number(found[1]) if found else None


def read_number(number: str) -> SectionKey:
    """`number` is normalised and matches `NUMBER`."""
    parts = _PARTS.fullmatch(number)
    assert parts is not None
    slashes = tuple(int(part) for part in parts[4].split("/")[1:])
    return int(parts[1]), _VALUE.get(parts[2] or "", 1), parts[3] or "", slashes


def sort_sections(section_nums: Sequence[str]) -> list[int]:
    """Places in reading order: numbered sections by number. Those without a number stay where the corpus has them:
    a preamble before the numbered ones, an appendix after them."""
    keys = [read_section(section_num) for section_num in section_nums]
    first = next((place for place, key in enumerate(keys) if key is not None), 0)

    def order(place: int) -> tuple[int, SectionKey, int]:
        key = keys[place]
        if key is not None:
            return 1, key, place
        return 0 if place < first else 2, (0, 0, "", ()), place

    return sorted(range(len(keys)), key=order)
