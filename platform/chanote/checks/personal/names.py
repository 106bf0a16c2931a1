"""Names of persons by lists: a Thai title before a given name, or a given name before a capitalised one."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

LISTS = Path(__file__).with_name("names")
TITLES = (
    "นางสาว", "นาง", "นาย", "น.ส.", "เด็กชาย", "เด็กหญิง", "ด.ช.", "ด.ญ.", "คุณ", "ดร.", "พลเอก", "พันตรี", "ร้อยตรี"
)  # fmt: skip
_TITLE = "|".join(map(re.escape, TITLES))
_TITLED = re.compile(
    rf"(?:ชื่อ[ ]{{0,2}}(?:{_TITLE})?|{_TITLE})[ ]{{0,2}}"
    r"([\u0e01-\u0e4e]{2,40})(?:[ ]{1,3}([\u0e01-\u0e4e]{2,40}))?"
)
_LATIN = re.compile(
    r"(?<![A-Za-zÀ-ɏ])([A-ZÄÖÜ][a-zäöüßéè]{1,15})"
    r"(?=( (?:[A-Z]\. )?(?:von |van |zu |de |der )?[A-ZÄÖÜ][A-Za-zäöüßéè'-]{2,30})(?![A-Za-zÀ-ɏ]))"
)
NO_SURNAMES = (
    "ได้", "เป็น", "มี", "จะ", "ที่", "และ", "กับ", "ไป", "มา", "ให้", "ถูก", "ซึ่ง",
    "ว่า", "อายุ", "โทร", "เลข", "หรือ", "อยู่", "เกิด", "บอก", "กล่าว", "ขอ", "ทำ", "ต้อง",
    "เพื่อ", "ใน", "แล้ว", "ไม่", "คือ", "จาก", "โดย", "ของ", "ต่อ", "เข้า", "ออก", "รับ",
    "ยื่น", "ตาม",
)  # fmt: skip
"""Words that follow a given name and are no surname."""
COMMON_WORDS = ("คุณสมบัติ", "คุณสมบูรณ์")
"""Words that a title and a given name seem to make."""
NO_NAMES = frozenset({
    "Avenue", "County", "Institute", "Island", "Platz", "River", "Road", "Straße", "Street", "University",
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "January",
    "February", "March", "April", "June", "July", "August", "September", "October", "November", "December",
})  # fmt: skip
"""Second words that make no name."""
SHORTEST_PREFIX = 4
"""Letters of a Thai given name that may stand at the beginning of a run of letters: Thai writes on without a space."""


@cache
def read_list(name: str) -> frozenset[str]:
    lines = (LISTS / f"{name}.txt").read_text(encoding="utf-8").split("\n")
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


@cache
def _thai_names() -> tuple[frozenset[str], int]:
    names = read_list("thai")
    return names, max(map(len, names))


def find_names(text: str, more: frozenset[str] = frozenset()) -> Iterator[tuple[int, int]]:
    """Places of names, title and all. `more` are given names of the project."""
    if not text.isascii():
        yield from _find_thai(text, more)
    latin = read_list("latin")
    for match in _LATIN.finditer(text):
        if (match[1] in latin or match[1] in more) and match[2].split()[-1] not in NO_NAMES:
            yield match.start(), match.end() + len(match[2])


def _find_thai(text: str, more: frozenset[str]) -> Iterator[tuple[int, int]]:
    names, longest = _thai_names()
    for match in _TITLED.finditer(text):
        if match[0].startswith(COMMON_WORDS):
            continue
        run = match[1]
        for length in range(min(len(run), longest), 1, -1):
            name = run[:length]
            if (name in names or name in more) and (length == len(run) or length >= SHORTEST_PREFIX):
                whole = length == len(run) and match[2] and not match[2].startswith(NO_SURNAMES)
                yield match.start(), match.end(2) if whole else match.start(1) + length
                break
