"""Citations of law as comparable pairs (law, section), from rows, from JSON and from text.

A section is its number with the Pali ordinal (40 ทวิ) and the number after a stroke (12/1) that make it another section.
Digits of any script, มาตรา or §, and spaces do not matter; paragraphs (วรรค), subsections and items are left out. A law
is its title without the year, and the year where one is given.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from trainer.evaluation.folding import fold_digits, normalise

# fmt: off
ORDINALS = (
    "ทวิ", "ตรี", "จัตวา", "เบญจ", "ฉ", "สัตต", "อัฏฐ", "นว", "ทศ", "เอกาทศ", "ทวาทศ", "เตรส", "จตุทศ", "ปัณรส", "โสฬส",
    "สัตตรส", "อัฏฐารส", "เอกูนวีสติ", "วีสติ", "เอกวีสติ", "ทวาวีสติ", "เตวีสติ", "จตุวีสติ", "ปัญจวีสติ", "ฉัพพีสติ",
)
# fmt: on
"""Pali ordinals from the second on, as Thai law inserts sections without renumbering."""
LATIN_ORDINALS = dict(
    zip(
        ("bis", "ter", "quater", "quinquies", "sexies", "septies", "octies", "novies", "decies"), ORDINALS, strict=False
    )
)
SPELLINGS = {"อัฎฐ": "อัฏฐ", "ปัณณรส": "ปัณรส", "เบญจะ": "เบญจ"}
ABBREVIATIONS = {
    "ป.พ.พ.": "ประมวลกฎหมายแพ่งและพาณิชย์",
    "ป.วิ.พ.": "ประมวลกฎหมายวิธีพิจารณาความแพ่ง",
    "ป.วิ.อ.": "ประมวลกฎหมายวิธีพิจารณาความอาญา",
    "ป.รัษฎากร": "ประมวลรัษฎากร",
    "ป.อาญา": "ประมวลกฎหมายอาญา",
    "ป.อ.": "ประมวลกฎหมายอาญา",
    "ป.ที่ดิน": "ประมวลกฎหมายที่ดิน",
    "พ.ร.ก.": "พระราชกำหนด",
    "พ.ร.ฎ.": "พระราชกฤษฎีกา",
    "พ.ร.บ.": "พระราชบัญญัติ",
    "พรบ.": "พระราชบัญญัติ",
}
THAI = r"\u0E00-\u0E7F"
LONGEST_RANGE = 50
"""Sections of a range (มาตรา 40 ถึง 42) that are all cited; of a longer range only the two ends are."""

# What may follow an ordinal without a space; any other Thai letter makes it a part of a word (ฉบับ, ทศวรรษ).
_AFTER_ORDINAL = rf"(?=[^{THAI}]|$|และ|หรือ|แห่ง|วรรค|ของ|ถึง|ตาม|ใน|อนุ|กับ|ประกอบ|พระราช|ประมวล)"
_ORDINAL = "|".join(sorted([*ORDINALS, *SPELLINGS], key=len, reverse=True))
_LATIN_ORDINAL = "|".join(LATIN_ORDINALS)
SECTION = (
    rf"[0-9]{{1,6}}(?:[a-z](?![a-z]))?(?:\s?(?:{_ORDINAL}){_AFTER_ORDINAL}|\s(?:{_LATIN_ORDINAL})\b(?!\s*[0-9]))?"
    r"(?:\s?/\s?[0-9]{1,4})?"
)
_PARTS = re.compile(
    rf"(?P<number>[0-9]{{1,6}})(?P<letter>[a-z](?![a-z]))?"
    rf"(?:\s?(?P<ordinal>(?:{_ORDINAL}){_AFTER_ORDINAL})|\s(?P<latin>{_LATIN_ORDINAL})\b)?(?:\s?/\s?(?P<stroke>[0-9]{{1,4}}))?"
)
_HEAD = r"(?:มาตรา|(?<![ก-๙.])ม\.|(?<![a-z])(?:sections?|sec\.|articles?|art\.|artikel)(?![a-z])|§{1,2})"
# 3 ปี after "และ" is a period, not a section.
_NO_UNIT = r"(?!\s?(?:ปี|เดือน|วัน|บาท|คน|ครั้ง|เท่า|ชั่วโมง|%|years?\b|months?\b|days?\b|baht\b))"
_BETWEEN = r",|และ/หรือ|และ|หรือ|ถึง|-|–|&|\band\b|\bor\b|\bund\b|\boder\b|\bto\b|\bbis\b"
_JOIN = rf"\s?(?:{_BETWEEN})\s?"
_DETAIL = r"(?:\s?(?:วรรค(?:หนึ่ง|สอง|สาม|สี่|ห้า|แรก|ท้าย|\s?[0-9]+)|อนุมาตรา|\((?:[0-9]{1,3}|[a-zก-ฮ])\)|abs\.\s?[0-9]+))*"
_CITED = re.compile(rf"{_HEAD}\s?{SECTION}{_DETAIL}(?:{_JOIN}(?:{_HEAD}\s?)?{SECTION}{_NO_UNIT}{_DETAIL})*")
_EACH = re.compile(rf"(?P<join>{_JOIN})?(?:{_HEAD}\s?)?(?P<section>{SECTION}){_DETAIL}")
_RANGE = re.compile(r"ถึง|-|–|\bto\b|\bbis\b")

_YEAR = re.compile(r"(?:,?\s?(?:พ\.\s?ศ\.|พุทธศักราช)\s?(?P<year>[0-9]{4}))")
_TITLE = re.compile(
    rf"(?:พระราชบัญญัติ|พระราชกำหนด|พระราชกฤษฎีกา|กฎกระทรวง|ประมวล|รัฐธรรมนูญ)"
    rf"(?P<rest>[{THAI}]*(?:\s(?!{_HEAD}|พ\.|กำหนด|บัญญัติ|ให้|ว่า|ซึ่ง|และ|หรือ)[{THAI}]+)*)"
)
_BEFORE_LAW = re.compile(r"[\s,(]*(?:(?:แห่ง|ของ|ตาม|ใน|\bof the\b|\bof\b|\bunder the\b|\bdes\b|\bder\b)\s?)?")
_OF = re.compile(r"แห่ง|ของ|\bof\b|\bunder\b|\bdes\b|\bder\b")
_JOINED = re.compile(rf"(?:{_BETWEEN}|\s)*")
_THIS = ("นี้", "ดังกล่าว")
_LATIN_TITLE = re.compile(r"(?:[A-Z][\w'-]{0,30}\s(?:of\s|and\s|for\s|the\s)?){1,8}?(?:Act|Code|Law|Constitution)\b")


@dataclass(frozen=True)
class Citation:
    law: str
    """Title in comparable form; empty where the text names none."""
    year: str
    """Buddhist or common year as written; empty where none is given."""
    section: str


def fold(text: str) -> str:
    """The text as everything here compares it: NFC, single spaces, digits 0 to 9, lower case, no short forms."""
    return _lower(_expand(text))


def fold_section(written: str) -> str:
    """A section in comparable form. What has no number in front (a schedule) is only freed of spaces."""
    folded = re.sub(rf"^{_HEAD}\s?", "", fold(written).strip(" ."))
    found = _PARTS.match(folded)
    return _spell(found) if found else folded.replace(" ", "")


def fold_law(written: str) -> tuple[str, str]:
    """Title in comparable form, without spaces, and year."""
    folded = re.sub(r"^(?:แห่ง|ตาม|the )\s?", "", fold(written))
    title, year = _split_year(folded)
    return re.sub(r"[\s,]+", "", title), year


def read_citations(listed: Iterable[Any]) -> list[Citation]:
    """Citations of a row or of JSON: mappings with `law` and `section`. What has another shape is left out."""
    found = []
    for one in listed:
        if not isinstance(one, Mapping):
            continue
        law, section = one.get("law", one.get("law_name")), one.get("section", one.get("section_num"))
        if isinstance(law, str) and isinstance(section, str | int) and not isinstance(section, bool):
            title, year = fold_law(law)
            if title and (number := fold_section(str(section))):
                found.append(Citation(title, year, number))
    return found


def find_citations(text: str, laws: Sequence[str]) -> list[Citation]:
    """Citations in running text, each section with the law that the text names for it.

    A list of sections belongs to the law that follows it with a word such as แห่ง; else to the law that stands at once
    before it, unless the sections before that are of it; else to the law that follows at once; else to the last law
    named before, or the first named after. Laws are recognised by the given names, the longest first, and by how titles
    of Thai and English laws look.
    """
    expanded = _expand(text)
    folded = _lower(expanded)
    named = _find_laws(expanded, folded, laws)
    starts = {law.start: law for law in named}
    taken: _Law | None = None
    law: _Law | None
    found: list[Citation] = []
    for group in _group(list(_CITED.finditer(folded)), folded):
        start, end = group[0].start(), group[-1].end()
        place = bisect_left(named, start, key=lambda law: law.start)
        earlier = named[place - 1] if place else None
        between = _BEFORE_LAW.match(folded, end)
        assert between is not None  # every part of it is optional
        later = starts.get(between.end())
        at_once = earlier is not None and earlier != taken and not folded[earlier.end : start].strip(" ,(")
        if later and (_OF.search(between[0]) or not at_once):
            taken = law = later
        else:
            law = earlier or next(iter(named[place:]), None)
        title, year = (law.title, law.year) if law else ("", "")
        found += [Citation(title, year, section) for one in group for section in _sections(one[0])]
    return found


def _group(cited: Sequence[re.Match[str]], folded: str) -> list[list[re.Match[str]]]:
    """Sections that only commas and the like separate, together."""
    groups: list[list[re.Match[str]]] = []
    for one in cited:
        if groups and _JOINED.fullmatch(folded, groups[-1][-1].end(), one.start()):
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def match_years(cited: Iterable[Citation], wanted: Iterable[Citation]) -> set[Citation]:
    """The cited ones as a set in which a law without its year is the wanted law of that title, where there is only one.

    A wanted law without a year takes the cited one of any year.
    """
    years: dict[str, set[str]] = {}
    for one in wanted:
        years.setdefault(one.law, set()).add(one.year)
    matched = set()
    for one in cited:
        known = years.get(one.law, set())
        year = next(iter(known)) if len(known) == 1 and (not one.year or known == {""}) else one.year
        matched.add(Citation(one.law, year, one.section))
    return matched


@dataclass(frozen=True)
class _Law:
    start: int
    end: int
    title: str
    year: str


def _expand(text: str) -> str:
    expanded = normalise(fold_digits(text))
    for short, full in ABBREVIATIONS.items():
        expanded = expanded.replace(short, full)
    return expanded


def _lower(text: str) -> str:
    """Lower case in which every character keeps its place."""
    return "".join(low if len(low := c.lower()) == 1 else c for c in text)


def _find_laws(expanded: str, folded: str, laws: Sequence[str]) -> list[_Law]:
    """Laws that the text names, in its order, without overlaps: given names first, the longest before the others."""
    found: list[_Law] = []
    titles = {_split_year(fold(law))[0].strip(): fold_law(law)[0] for law in laws if law.strip()}
    known = [
        (re.compile(_spaced(name)), folded, titles[name]) for name in sorted(titles, key=len, reverse=True) if name
    ]
    for pattern, text, title in [*known, (_TITLE, folded, ""), (_LATIN_TITLE, expanded, "")]:
        for one in pattern.finditer(text):
            year = _YEAR.match(folded, one.end())
            end = year.end() if year else one.end()
            place = bisect_left(found, one.start(), key=lambda law: law.start)
            free = place == len(found) or end <= found[place].start
            # "This act" names no law; the one named before is meant.
            free = free and not any(word in one[0] for word in _THIS)
            if free and (place == 0 or found[place - 1].end <= one.start()):
                found.insert(place, _Law(one.start(), end, title or fold_law(one[0])[0], year["year"] if year else ""))
    return found


def _split_year(law: str) -> tuple[str, str]:
    """Title and year; of several years the last, since the title of an act that repeals another holds that one's."""
    years = list(_YEAR.finditer(law))
    return (law[: years[-1].start()] + law[years[-1].end() :], years[-1]["year"]) if years else (law, "")


def _spaced(name: str) -> str:
    """The name with its spaces optional; a Latin name must be a whole word."""
    pattern = r"\s?".join(re.escape(part) for part in name.split())
    edge = r"(?![a-z0-9])" if name[-1].isascii() else ""
    return (r"(?<![a-z0-9])" if name[0].isascii() else "") + pattern + edge


def _sections(cited: str) -> list[str]:
    """The sections of a list such as `มาตรา 40, 42 ทวิ และ 50 ถึง 52`, ranges filled in."""
    each = list(_EACH.finditer(cited))
    sections = [fold_section(one["section"]) for one in each]
    for first, last in pairwise(each):
        if last["join"] and _RANGE.search(last["join"]) and first["section"].isdigit() and last["section"].isdigit():
            begin, end = int(first["section"]), int(last["section"])
            if begin < end <= begin + LONGEST_RANGE:
                sections += [str(number) for number in range(begin + 1, end)]
    return sections


def _spell(found: re.Match[str]) -> str:
    ordinal = LATIN_ORDINALS[found["latin"]] if found["latin"] else found["ordinal"]
    suffix = f" {SPELLINGS.get(ordinal, ordinal)}" if ordinal else ""
    stroke = f"/{int(found['stroke'])}" if found["stroke"] else ""
    return f"{int(found['number'])}{found['letter'] or ''}{suffix}{stroke}"
