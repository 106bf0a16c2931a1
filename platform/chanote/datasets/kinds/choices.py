"""`choices`: a question with options, one of which is right."""

import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, model_validator

from chanote.datasets.kinds.base import FilledText, RowModel

LETTER = re.compile(r"\s*\(?([A-Za-z])[).]?\s*\Z")


class ChoiceRow(RowModel):
    required = ("question", "choices", "answer")
    aliases = {
        "question": ("prompt", "query", "stem"),
        "choices": ("options", "alternatives", "endings"),
        "answer": ("answer_index", "label", "correct", "gold", "target", "answer_idx"),
    }

    question: FilledText
    choices: Annotated[list[FilledText], Field(min_length=2)]
    answer: int = Field(ge=0)
    """Index of the right option, from 0."""

    @model_validator(mode="before")
    @classmethod
    def _read_answer(cls, row: Any) -> Any:
        """An answer may also be a letter or the option itself; a number in quotes is an index."""
        if isinstance(row, dict) and isinstance(row.get("answer"), str) and isinstance(row.get("choices"), list):
            return {**row, "answer": find_answer(row["answer"], row["choices"])}
        return row

    @model_validator(mode="after")
    def _check_answer(self) -> "ChoiceRow":
        if self.answer >= len(self.choices):
            raise ValueError(f"answer {self.answer} names no option: there are {len(self.choices)}, counted from 0")
        return self

    def texts(self) -> Iterator[str]:
        yield self.question
        yield from self.choices


def find_answer(word: str, choices: list[Any]) -> int:
    if choices.count(word) == 1:
        return choices.index(word)
    if word.strip().isascii() and word.strip().isdigit():
        return int(word)
    if letter := LETTER.match(word):
        return ord(letter[1].upper()) - ord("A")
    raise ValueError(f"answer {word[:40]!r} is neither an index from 0, a letter, nor one of the options")
