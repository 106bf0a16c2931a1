"""Section numbers: what `๖๕ ทวิ`, `มาตรา 65ทวิ` and `65 ทวิ (2)` have in common, and which comes first."""

import re
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
MARK = r"(?:มาตรา|ม\.|ข้อ|sections?|sec\.?|articles?|artikel|art\.?|paragraph|par\.|§+)"
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


def section_order(section_num: str, position: int) -> tuple[int, SectionKey, int]:
    """Numbered sections by number; those without one (a preamble) stay before them, in the corpus' order."""
    key = read_section(section_num)
    return (1, key, position) if key is not None else (0, (0, 0, "", ()), position)
