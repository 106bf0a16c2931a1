"""A corpus of law as questions are made from it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.citations import fold_section
from trainer.evaluation.folding import fold_digits


class CorpusFault(Exception):
    """The corpus cannot be read; the message names file and line."""


@dataclass(frozen=True)
class Section:
    law: str
    number: str
    text: str
    """Without the law's name and the section's number in front of it."""


def read_corpus(path: Path) -> list[Section]:
    """Sections in the order of the file; a section that comes in several lines is one. Raises CorpusFault."""
    found: dict[tuple[str, str], list[str]] = {}
    for law, number, text in _read_lines(path):
        found.setdefault((law, number), []).append(strip_heading(text, law, number))
    if not found:
        raise CorpusFault(f"{path} has no section; write one a line with law_name, section_num and text.")
    return [Section(law, number, "\n".join(texts)) for (law, number), texts in found.items()]


def _read_lines(path: Path) -> Iterator[tuple[str, str, str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise CorpusFault(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CorpusFault(f"{path} is not UTF-8 at byte {error.start}.") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            yield str(row["law_name"]).strip(), str(row["section_num"]).strip(), str(row["text"])
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusFault(
                f"{path}, line {number}: a JSON object with law_name, section_num and text is needed ({error})."
            ) from error


def strip_heading(text: str, law: str, number: str) -> str:
    """The text of a section from where the law itself begins to speak."""
    rest = text.strip()
    if rest.startswith(law):
        rest = rest[len(law) :].lstrip()
    head = re.match(r"(?:มาตรา|§|section|sec\.|article)\s*(\S+(?:\s(?!\S{12})[ก-๙]{1,8})?)\s+", rest, re.IGNORECASE)
    if head and fold_section(fold_digits(head[1])) == fold_section(number):
        return rest[head.end() :].strip()
    plain = re.match(r"(?:มาตรา|§|section|sec\.|article)\s*(\S+)\s+", rest, re.IGNORECASE)
    if plain and fold_section(fold_digits(plain[1])) == fold_section(number):
        return rest[plain.end() :].strip()
    return rest
