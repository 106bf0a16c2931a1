"""Sections of Thai laws.

The cross-references of the files are left out: they are annotation of a repository without a licence.
"""

from collections.abc import Iterator
from pathlib import Path

from chanote.datasets.shared.base import OPEN, Row, SharedDataset, read_json_lines

FILES = ("civil_and_commercial_code", "other_32_acts", "revenue_securities_anticorruption")


def load(folder: Path) -> list[SharedDataset]:
    return [
        SharedDataset(
            slug="thai-law-sections",
            title="Sections of Thai laws",
            kind="text",
            rows=lambda: read_sections(folder),
            licence="LicenseRef-TH-Copyright-Act-s7",
            source="thai-legislation",
            uses=OPEN,
            languages=("th",),
            description=(
                "Every section of 36 Thai laws, as the law stood when the texts were collected. Legislation is no "
                "copyright work under section 7 of the Thai Copyright Act. The cross-references of the source are "
                "annotation without a licence and are left out."
            ),
        )
    ]


def read_sections(folder: Path) -> Iterator[Row]:
    for name in FILES:
        for row in read_json_lines(folder / f"{name}.jsonl"):
            yield {key: row[key] for key in ("id", "law_code", "law_name", "section_num", "text")} | {"language": "th"}
