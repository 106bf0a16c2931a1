"""What people say to an assistant, in Bavarian and in German: the intent, and the words that fill its slots."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chanote.datasets.shared.base import Row, SharedDataset

SETS = {
    "xsid-bavarian-test": ("de-ba.test", "bar", "xSID, South Tyrolean Bavarian, test"),
    "xsid-bavarian-valid": ("de-ba.valid", "bar", "xSID, South Tyrolean Bavarian, validation"),
    "xsid-german-test": ("de.test", "de", "xSID, German, test"),
}


def load(folder: Path) -> list[SharedDataset]:
    return [_dataset(folder, slug) for slug in SETS]


def _dataset(folder: Path, slug: str) -> SharedDataset:
    file, language, title = SETS[slug]
    return SharedDataset(
        slug=slug,
        title=title,
        kind="prompts",
        rows=lambda: read_sentences(folder / f"{file}.conll", language),
        licence="CC-BY-SA-4.0",
        source="xsid",
        uses=("evaluate",),
        languages=(language,),
        description="Intent (answer) and slots of short requests; the field sentence has the same number in each "
        "language. Evaluation only: these are test sets.",
    )


def read_sentences(path: Path, language: str) -> Iterator[Row]:
    """Blocks of lines: facts after #, then a word, its intent and its slot in BIO marks on each line."""
    for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
        lines = block.split("\n")
        facts = dict(line.removeprefix("# ").split(" = ", 1) for line in lines if line.startswith("# "))
        words = [line.split("\t") for line in lines if not line.startswith("#")]
        yield {
            "question": facts["text"].strip(),
            "answer": facts["intent"],
            "slots": join_slots((word[1], word[3]) for word in words),
            "sentence": int(facts["id"]),
            "language": language,
        }


def join_slots(words: Any) -> list[dict[str, str]]:
    """Words of one slot together, in their order: (word, B-place), (word, I-place) is one slot."""
    found: list[dict[str, str]] = []
    open_slot = ""
    for word, mark in words:
        begins, _, slot = mark.partition("-")
        if begins == "I" and slot == open_slot:
            found[-1]["text"] += f" {word}"
        elif slot:
            found.append({"slot": slot, "text": word})
        open_slot = slot
    return found
