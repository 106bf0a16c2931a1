"""Questions on passages of the Thai Wikipedia. Who wrote or was paid for a question is left out."""

from collections.abc import Iterator
from pathlib import Path

from chanote.datasets.shared.base import OPEN, Row, SharedDataset, read_json_lines


def load(folder: Path) -> list[SharedDataset]:
    return [_dataset(folder, split) for split in ("train", "valid", "test")]


def _dataset(folder: Path, split: str) -> SharedDataset:
    return SharedDataset(
        slug=f"iapp-wiki-qa-th-{split}",
        title=f"iApp Wiki QA, Thai, {split}",
        kind="prompts",
        rows=lambda: read_questions(folder, split),
        licence="MIT AND LicenseRef-CC-BY-SA",
        source="iapp-wiki-qa",
        uses=OPEN,
        languages=("th",),
        description=(
            "Questions whose answer stands in the field context. The questions are under the MIT licence, the "
            "passages are of the Thai Wikipedia and under CC BY-SA."
        ),
    )


def read_questions(folder: Path, split: str) -> Iterator[Row]:
    for row in read_json_lines(folder / f"{split}_sample.jsonl"):
        yield {
            "id": row["question_id"],
            "article": row["article_id"],
            "title": row["title"],
            "context": row["context"],
            "question": row["question"],
            "answer": row["answers"]["text"][0],
            "language": "th",
        }
