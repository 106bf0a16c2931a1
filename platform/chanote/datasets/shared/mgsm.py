"""The same 250 problems of mathematics in Thai and in English; `problem` pairs them."""

from collections.abc import Iterator
from pathlib import Path

from chanote.datasets.shared.base import OPEN, Row, SharedDataset

NAMES = {"th": "Thai", "en": "English"}


def load(folder: Path) -> list[SharedDataset]:
    return [_dataset(folder, language) for language in NAMES]


def _dataset(folder: Path, language: str) -> SharedDataset:
    return SharedDataset(
        slug=f"mgsm-{language}",
        title=f"MGSM, {NAMES[language]}",
        kind="prompts",
        rows=lambda: read_problems(folder, language),
        licence="CC-BY-4.0",
        source="mgsm",
        uses=OPEN,
        languages=(language,),
        description="250 problems; the field problem has the same number in each language.",
    )


def read_problems(folder: Path, language: str) -> Iterator[Row]:
    # Quotation marks are text in these files, so no CSV reader may see them.
    lines = (folder / f"mgsm_{language}.tsv").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        question, answer = line.split("\t")
        yield {
            "question": question,
            "answer": answer.strip().replace(",", ""),
            "problem": number,
            "language": language,
        }
