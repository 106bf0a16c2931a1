"""The German civil code and constitution, cut into their sections."""

import re
from collections.abc import Iterator
from pathlib import Path

from chanote.datasets.shared.base import OPEN, Row, SharedDataset

HEADING = re.compile(r"(#+) (.*)")
SECTION = re.compile(r"(?:\(XXXX\) )?(§§?|Art) ([0-9]+[a-z]*)\b\s*(.*)")

REPEALED = {"", "-", "(weggefallen)"}
"""What stands below the heading of a section that is no longer law."""


def load(folder: Path) -> list[SharedDataset]:
    return [
        SharedDataset(
            slug="german-law",
            title="German civil code and constitution",
            kind="text",
            rows=lambda: read_sections(folder),
            licence="Unlicense",
            source="german-federal-law",
            uses=OPEN,
            languages=("de",),
            description=(
                "The sections of the Bürgerliches Gesetzbuch and the articles of the Grundgesetz that are in force, "
                "as of 2022-03-26. Official works, free of copyright under section 5 of the German Copyright Act."
            ),
        )
    ]


def read_sections(folder: Path) -> Iterator[Row]:
    for name in ("bgb", "gg"):
        yield from cut_sections((folder / f"{name}.md").read_text(encoding="utf-8"))


def cut_sections(markdown: str) -> Iterator[Row]:
    """One row for each heading `§ 1 …` or `Art 1 …` with text below it; repealed sections have none."""
    law, heading, body = "", None, list[str]()
    for line in [*markdown.splitlines(), "# "]:
        found = HEADING.match(line)
        if not found:
            body.append(line)
            continue
        text = "\n".join(body).strip()
        if heading and text not in REPEALED:
            sign, number, title = heading.groups()
            name = f"{sign} {number} {title}".strip()
            yield {
                "text": f"{law} {name}\n{text}",
                "law_name": law,
                "section_num": number,
                "language": "de",
            }
        if len(found[1]) == 1 and found[2]:
            law = found[2].strip()
        heading, body = SECTION.match(found[2]), []
