"""Instructions in Thai with answers that people wrote."""

import re
from collections.abc import Iterator
from pathlib import Path

from chanote.datasets.shared.base import OPEN, Row, SharedDataset, read_json_lines

CATEGORIES = ("brainstorming", "classification", "creative_writing", "multiple_choice", "open_qa")
LABELS = ("abcdefgh", "กขคงจฉ", "12345678")
"""Ways in which the options are lettered."""
OPTION = re.compile(r"\s*\(?([A-Za-z]|[ก-ฉ]|[1-8])\s*[.)]\s*(.+)")
RIGHT = re.compile(r"(?:\A|[^A-Za-zก-๙0-9])([A-Za-z]|[ก-ฉ]|[1-8])\s*[.)]")
LICENCE = "CC-BY-SA-4.0"
UNCONFIRMED = (
    "The source says MIT without a licence file; the rows look like the WangchanThaiInstruct evaluation set, so they "
    "are treated as CC BY-SA 4.0."
)


def load(folder: Path) -> list[SharedDataset]:
    return [
        SharedDataset(
            slug="thai-instruct-human",
            title="Thai instructions, answered by people",
            kind="chat",
            rows=lambda: read_conversations(folder),
            licence=LICENCE,
            source="thai-instruct",
            uses=OPEN,
            languages=("th",),
            description=f"Five categories of instructions, some about Thai culture. {UNCONFIRMED}",
        ),
        SharedDataset(
            slug="thai-instruct-choices",
            title="Thai multiple choice, answered by people",
            kind="choices",
            rows=lambda: read_choices(folder),
            licence=LICENCE,
            source="thai-instruct",
            uses=OPEN,
            languages=("th",),
            description=f"The rows of multiple_choice whose options and answer are lettered clearly. {UNCONFIRMED}",
        ),
    ]


def read_conversations(folder: Path) -> Iterator[Row]:
    for category in CATEGORIES:
        for row in read_json_lines(folder / f"{category}.jsonl"):
            asked = "\n\n".join(part for part in (row["instruction"], row["input"]) if part.strip())
            yield {
                "id": row["id"],
                "category": row["category"],
                "thai_culture": row["thai_culture"],
                "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": row["output"]}],
                "language": "th",
            }


def read_choices(folder: Path) -> Iterator[Row]:
    for row in read_json_lines(folder / "multiple_choice.jsonl"):
        parsed = parse_options(row["input"], row["output"])
        if parsed:
            choices, answer = parsed
            yield {
                "id": row["id"],
                "thai_culture": row["thai_culture"],
                "question": row["instruction"],
                "choices": choices,
                "answer": answer,
                "explanation": row["output"],
                "language": "th",
            }


def parse_options(options: str, answer: str) -> tuple[list[str], int] | None:
    """Options and index of the right one; None unless every line is lettered in order and the answer names one."""
    lines = [OPTION.match(line) for line in options.splitlines() if line.strip()]
    letters = "".join(line[1].lower() for line in lines if line)
    right = RIGHT.search(answer)
    if len(letters) != len(lines) or len(letters) < 2 or not right:
        return None
    if not any(labels.startswith(letters) for labels in LABELS) or right[1].lower() not in letters:
        return None
    return [line[2].strip() for line in lines if line], letters.index(right[1].lower())
