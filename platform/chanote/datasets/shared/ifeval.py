"""IFEval: instructions whose keeping a program can check, with what it must check."""

from collections.abc import Iterator
from pathlib import Path

from chanote.datasets.shared.base import Row, SharedDataset, read_json_lines


def load(folder: Path) -> list[SharedDataset]:
    return [
        SharedDataset(
            slug="ifeval",
            title="IFEval",
            kind="prompts",
            rows=lambda: read_instructions(folder),
            licence="Apache-2.0",
            source="ifeval",
            uses=("evaluate",),
            languages=("en",),
            description="541 prompts of a test of following instructions. Evaluation only: training must not see them.",
        )
    ]


def read_instructions(folder: Path) -> Iterator[Row]:
    for row in read_json_lines(folder / "input_data.jsonl"):
        yield {
            "key": row["key"],
            "question": row["prompt"],
            "instruction_id_list": row["instruction_id_list"],
            "kwargs": row["kwargs"],
            "language": "en",
        }
