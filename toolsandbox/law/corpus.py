"""A corpus file: JSON lines, one section each, with `law_name`, `section_num` and `text`."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

MAX_LINE_BYTES = 4 << 20


class BadCorpus(ValueError):
    """Names the file and the line, and what must be there."""


@dataclass(frozen=True)
class Section:
    law_name: str
    section_num: str
    text: str


def hash_file(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_corpus(path: Path) -> list[Section]:
    """All sections in the file's order. Raises `BadCorpus` at the first line that is not a section."""
    sections: list[Section] = []
    seen: dict[tuple[str, str], int] = {}
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            where = f"{path.name}, line {number}"
            if len(line) > MAX_LINE_BYTES:
                raise BadCorpus(f"{where}: longer than {MAX_LINE_BYTES} bytes; split the section")
            if not line.strip():
                continue
            section = _read_line(line, where)
            first = seen.setdefault((section.law_name, section.section_num), number)
            if first != number:
                raise BadCorpus(
                    f"{where}: section {section.section_num!r} of {section.law_name!r} is already in line {first}"
                )
            sections.append(section)
    if not sections:
        raise BadCorpus(f"{path.name}: no section in it; write one JSON object per line")
    return sections


def _read_line(line: bytes, where: str) -> Section:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadCorpus(f"{where}: not JSON in UTF-8 ({type(error).__name__})") from error
    if not isinstance(row, dict):
        raise BadCorpus(f"{where}: a JSON object is needed, with law_name, section_num and text")
    values = {}
    for field in ("law_name", "section_num", "text"):
        value = row.get(field)
        if field == "section_num" and type(value) is int:
            value = str(value)
        if not isinstance(value, str) or not value.strip():
            raise BadCorpus(f"{where}: {field} must be a text that is not empty")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadCorpus(f"{where}: {field} holds half of a surrogate pair; write real characters") from error
        values[field] = value if field == "text" else " ".join(value.split())
    return Section(**values)
