"""Reading a section or a whole law by name. Every way to be wrong has an answer of its own."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from toolsandbox.contract import ReadLaw, ReadReply
from toolsandbox.law.corpus import Section
from toolsandbox.law.names import LawNames
from toolsandbox.law.sections import MARK, NUMBER, SectionKey, read_section, sort_sections
from toolsandbox.law.writing import normalise

MAX_NAME_CHARACTERS = 500
MAX_SECTION_CHARACTERS = 100
_TAIL = r"(?:\s*(?:\(|วรรค|อนุมาตรา|abs|satz|nr|paragraph|subsection).*)?"
_CITED_AFTER = re.compile(rf"(?P<name>.+?)[\s,]*(?P<section>{MARK}\s*{NUMBER}{_TAIL})", re.S)
_CITED_BEFORE = re.compile(
    rf"(?P<section>{MARK}\s*{NUMBER}{_TAIL}?)[\s,]*(?:แห่ง|ของ|of(?: the)?\s|des\s|der\s)?(?P<name>.+)", re.S
)
_NUMBER_AFTER = re.compile(rf"(?P<name>.*[^\s\d.])\s+(?P<section>{NUMBER}{_TAIL})", re.S)
_RANGE = re.compile(r"(?P<first>[^-–]+?)\s*[-–]\s*(?P<last>[^-–]*)")
_YEAR_MARK = re.compile(r"(?:พ\.?\s?ศ\.?|พุทธศักราช)$")


@dataclass(frozen=True)
class _Law:
    sections: list[Section]
    """Sorted as numbers."""
    by_key: dict[SectionKey, int]
    by_spelling: dict[str, int]


class LawReader:
    def __init__(self, sections: list[Section], names: LawNames, *, max_characters: int = 20_000) -> None:
        self._names = names
        self._max_characters = max_characters
        grouped: dict[str, list[Section]] = {name: [] for name in names.names}
        for section in sections:
            grouped[section.law_name].append(section)
        self._laws = [_sort_law(grouped[name]) for name in names.names]

    def read(self, request: ReadLaw) -> ReadReply:
        name, section_num = request.law_name, (request.section_num or "").strip() or None
        if not name.strip():
            return _refuse("law_name is empty: write the name of a law.")
        if len(name) > MAX_NAME_CHARACTERS or len(section_num or "") > MAX_SECTION_CHARACTERS:
            return _refuse(
                f"law_name may have {MAX_NAME_CHARACTERS} characters and section_num {MAX_SECTION_CHARACTERS}."
            )
        found = self._names.find(name)
        for bare, cited in _split_citation(name):
            if found.law is not None and self._names.is_whole(name, found.law):
                break
            inner = self._names.find(bare)
            if inner.law is None and not inner.ambiguous:
                continue
            if section_num is not None and read_section(section_num) != read_section(cited):
                return _refuse(
                    f"law_name cites section {cited!r} but section_num is {section_num!r}: write one of them."
                )
            found, section_num = inner, section_num or cited
            break
        if found.law is None:
            candidates = [self._names.names[law] for law in found.candidates]
            return _ask_which(name, candidates) if found.ambiguous else _unknown_law(name, candidates)
        law_name = self._names.names[found.law]
        law = self._laws[found.law]
        return self._whole(law_name, law) if section_num is None else self._one(law_name, law, section_num)

    def _one(self, law_name: str, law: _Law, section_num: str) -> ReadReply:
        place = _place_of(law, section_num)
        if place is None and (asked := _RANGE.fullmatch(section_num)):
            first = _place_of(law, asked["first"])
            last = _place_of(law, asked["last"]) if asked["last"] else len(law.sections) - 1
            if first is None or last is None:
                return self._unknown_section(law_name, law, asked["last"] if first is not None else asked["first"])
            if first <= last:
                return self._show(law_name, law.sections[first : last + 1], heading=f"Law: {law_name}\n\n")
        if place is None:
            return self._unknown_section(law_name, law, section_num)
        return self._show(law_name, law.sections[place : place + 1], heading="")

    def _whole(self, law_name: str, law: _Law) -> ReadReply:
        return self._show(law_name, law.sections, heading=f"Law: {law_name}\n\n")

    def _show(self, law_name: str, sections: list[Section], *, heading: str) -> ReadReply:
        """As many whole sections as fit; a first section that is too long itself is cut, saying so."""
        pieces = [heading]
        room = self._max_characters - len(heading)
        for place, section in enumerate(sections):
            piece = f"--- Section {section.section_num} ---\n{section.text}\n\n" if heading else section.text
            if len(piece) > room:
                if place == 0:
                    cut = f"{piece[:room]}\n[Cut: the section has {len(section.text)} characters, {room} are shown.]"
                    return _found(law_name, sections, heading + cut, truncated=True, following=None)
                following = section.section_num
                pieces.append(
                    f"[Cut after section {sections[place - 1].section_num}: {place} of {len(sections)} sections are "
                    f"shown. Read on with section_num {following}-.]"
                )
                return _found(law_name, sections, "".join(pieces), truncated=True, following=following)
            pieces.append(piece)
            room -= len(piece)
        return _found(law_name, sections, "".join(pieces).rstrip("\n"), truncated=False, following=None)

    def _unknown_section(self, law_name: str, law: _Law, section_num: str) -> ReadReply:
        near = list(_nearest(law, section_num))
        first, last = law.sections[0].section_num, law.sections[-1].section_num
        text = f"{law_name} has no section {section_num!r}. Its sections go from {first} to {last}."
        if near:
            text += f" Near it: {', '.join(near)}."
        return ReadReply(status="error", answer="unknown_section", text=text, law_name=law_name, candidates=near)


def _sort_law(found: list[Section]) -> _Law:
    sections = [found[place] for place in sort_sections([section.section_num for section in found])]
    by_key: dict[SectionKey, int] = {}
    for place, section in enumerate(sections):
        key = read_section(section.section_num)
        if key is not None:
            by_key.setdefault(key, place)
    spelled = {normalise(section.section_num): place for place, section in enumerate(sections)}
    return _Law(sections, by_key, spelled)


def _place_of(law: _Law, section_num: str) -> int | None:
    place = law.by_spelling.get(normalise(section_num))
    if place is None and (key := read_section(section_num)) is not None:
        place = law.by_key.get(key)
    return place


def _split_citation(name: str) -> Iterator[tuple[str, str]]:
    """Ways to read one text as a law's name and a section. The number of a year is no section."""
    normalised = normalise(name)
    for pattern in (_CITED_AFTER, _CITED_BEFORE, _NUMBER_AFTER):
        found = pattern.fullmatch(normalised)
        if found and not _YEAR_MARK.search(found["name"]):
            yield found["name"], found["section"]


def _nearest(law: _Law, section_num: str) -> Iterator[str]:
    """Sections with the same leading number, else the two on either side."""
    key = read_section(section_num)
    if key is None:
        return
    same = [place for other, place in law.by_key.items() if other[0] == key[0]]
    if same:
        yield from (law.sections[place].section_num for place in sorted(same)[:10])
        return
    below = [place for other, place in law.by_key.items() if other < key]
    above = [place for other, place in law.by_key.items() if other > key]
    if below:
        yield law.sections[max(below)].section_num
    if above:
        yield law.sections[min(above)].section_num


def _refuse(text: str) -> ReadReply:
    return ReadReply(status="rejected", answer="invalid", text=text)


def _ask_which(name: str, candidates: list[str]) -> ReadReply:
    listed = "; ".join(candidates)
    text = f"{name!r} can be several laws. Ask again with one of these names: {listed}."
    return ReadReply(status="error", answer="ambiguous_law", text=text, candidates=candidates)


def _unknown_law(name: str, candidates: list[str]) -> ReadReply:
    text = f"No law is named {name!r}."
    if candidates:
        text += f" Names like it: {'; '.join(candidates)}."
    return ReadReply(status="error", answer="unknown_law", text=text, candidates=candidates)


def _found(law_name: str, sections: list[Section], text: str, *, truncated: bool, following: str | None) -> ReadReply:
    return ReadReply(
        status="ok",
        answer="found",
        text=text,
        truncated=truncated,
        law_name=law_name,
        section_num=sections[0].section_num if len(sections) == 1 else None,
        next_section=following,
    )
