"""German federal laws as Markdown (one file per law, as the Bundestag's `gesetze` repository has them) to a corpus."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from toolsandbox.law.corpus import BadCorpus, Section

_HEADING = re.compile(r"#{1,6}\s+(.*\S)\s*")
_NUMBERED = re.compile(r"(?:§|Art\.?|Artikel)\s+(\d+[a-z]{0,2})\b\s*(.*)")
_UNNUMBERED = ("Eingangsformel", "Präambel")


def read_gesetz(path: Path) -> Iterator[Section]:
    """Sections with a text, in the file's order. The law's name is its title, with its abbreviation in brackets.

    Repealed sections have no text and are left out; so is an appendix that numbers its articles anew.
    """
    title = ""
    number: str | None = None
    heading = ""
    body: list[str] = []
    seen: set[str] = set()
    for line in [*path.read_text(encoding="utf-8").splitlines(), "# End"]:
        found = _HEADING.fullmatch(line)
        if found is None:
            body.append(line)
            continue
        text = _join(body)
        if number is not None and text and number not in seen:
            seen.add(number)
            yield Section(title, number, f"{heading}\n{text}")
        if line.startswith("# ") and not title:
            title = found[1]
        numbered = _NUMBERED.fullmatch(found[1])
        number = numbered[1] if numbered else found[1] if found[1] in _UNNUMBERED else None
        heading, body = found[1], []
    if not title:
        raise BadCorpus(f"{path.name}: no title; the first heading must be the law's name")


def _join(lines: list[str]) -> str:
    """Lines that were wrapped become one again; an empty line stays a border of paragraphs."""
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines).strip())
    return "\n".join(" ".join(paragraph.split()) for paragraph in paragraphs if paragraph.strip())


def write_corpus(files: list[Path], out: Path) -> int:
    """Write one corpus file; returns the number of sections."""
    rows = [section for file in files for section in read_gesetz(file)]
    lines = (json.dumps(vars(section), ensure_ascii=False) + "\n" for section in rows)
    out.write_text("".join(lines), encoding="utf-8")
    return len(rows)
