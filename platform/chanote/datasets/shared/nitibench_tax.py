"""Rulings of the Thai Revenue Department with the sections they rest on: a test set."""

from collections.abc import Iterator
from pathlib import Path

from chanote.datasets.shared.base import Row, SharedDataset, read_json_lines


def load(folder: Path) -> list[SharedDataset]:
    return [
        SharedDataset(
            slug="nitibench-tax",
            title="NitiBench tax rulings",
            kind="prompts",
            rows=lambda: read_rulings(folder),
            licence="LicenseRef-unknown",
            source="nitibench-tax",
            uses=("evaluate",),
            languages=("th",),
            description=(
                "50 questions to the Thai Revenue Department with its answers. Evaluation only: the source has no "
                "licence for the reference answers and cited laws, and the rows are a test set that training must "
                "not see."
            ),
        )
    ]


def read_rulings(folder: Path) -> Iterator[Row]:
    """`answer` is the short reference answer; the ruling in full is kept beside it."""
    for row in read_json_lines(folder / "nitibench_tax_50.jsonl"):
        yield {
            "id": row["id"],
            "question": row["question"],
            "answer": row["reference_answer"],
            "ruling": row["answer"],
            "citations": [{"law": cited["law"], "section": cited["sections"]} for cited in row["relevant_laws"]],
            "language": "th",
        }
