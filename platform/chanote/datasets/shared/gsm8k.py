"""Grade-school mathematics: the number after #### is the answer, what stands before it the worked solution."""

from collections.abc import Iterator
from pathlib import Path

from chanote.datasets.shared.base import OPEN, Row, SharedDataset, read_json_lines


def load(folder: Path) -> list[SharedDataset]:
    return [
        _dataset(folder, "gsm8k", ("train", "test"), "All 8,792 problems; the field split says which are for testing."),
        _dataset(folder, "gsm8k-train", ("train",), "The 7,473 problems to train on."),
        _dataset(folder, "gsm8k-test", ("test",), "The 1,319 problems to test on; keep them out of training."),
    ]


def _dataset(folder: Path, slug: str, splits: tuple[str, ...], description: str) -> SharedDataset:
    return SharedDataset(
        slug=slug,
        title=f"GSM8K {splits[0]}" if len(splits) == 1 else "GSM8K",
        kind="prompts",
        rows=lambda: read_problems(folder, splits),
        licence="MIT",
        source="gsm8k",
        uses=("evaluate",) if splits == ("test",) else OPEN,
        languages=("en",),
        description=description,
    )


def read_problems(folder: Path, splits: tuple[str, ...]) -> Iterator[Row]:
    for split in splits:
        for row in read_json_lines(folder / f"{split}.jsonl"):
            solution, _, answer = row["answer"].rpartition("####")
            yield {
                "question": row["question"],
                "answer": answer.strip().replace(",", ""),
                "solution": solution.strip(),
                "split": split,
                "language": "en",
            }
