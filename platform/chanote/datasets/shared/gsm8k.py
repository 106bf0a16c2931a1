"""Grade-school mathematics: the number after #### is the answer, what stands before it the worked solution."""

from collections.abc import Iterator
from pathlib import Path

from chanote.datasets.shared.base import OPEN, Row, SharedDataset, read_json_lines


def load(folder: Path) -> list[SharedDataset]:
    return [
        _dataset(folder, "train", "The 7,473 problems to train on."),
        _dataset(folder, "test", "The 1,319 problems to test on; keep them out of training."),
    ]


def _dataset(folder: Path, split: str, description: str) -> SharedDataset:
    return SharedDataset(
        slug=f"gsm8k-{split}",
        title=f"GSM8K {split}",
        kind="prompts",
        rows=lambda: read_problems(folder, split),
        licence="MIT",
        source="gsm8k",
        uses=("evaluate",) if split == "test" else OPEN,
        languages=("en",),
        description=description,
    )


def read_problems(folder: Path, split: str) -> Iterator[Row]:
    for row in read_json_lines(folder / f"{split}.jsonl"):
        solution, _, answer = row["answer"].rpartition("####")
        yield {
            "question": row["question"],
            "answer": answer.strip().replace(",", ""),
            "solution": solution.strip(),
            "split": split,
            "language": "en",
        }
