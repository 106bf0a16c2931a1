"""Holding an answer to the instructions of its prompt, read strictly or loosely."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.evaluation.folding import fold_thai
from trainer.evaluation.instructions import CHECKERS, Wish
from trainer.evaluation.instructions.language import SCRIPTS


@dataclass(frozen=True)
class Instruction:
    name: str
    wish: Wish
    skipped: str = ""
    """Why it is not checked; empty when it is."""


def read_instructions(row: Mapping[str, Any], *, thai: bool) -> list[Instruction]:
    """The row's `instruction_id_list` with its `kwargs`. Raises ValueError with a sentence."""
    names, wishes = row.get("instruction_id_list"), row.get("kwargs")
    if not isinstance(names, list) or not names or not isinstance(wishes, list) or len(names) != len(wishes):
        raise ValueError("instruction_id_list and kwargs are not two lists of one length")
    return [_read(str(name), values, thai=thai) for name, values in zip(names, wishes, strict=True)]


def _read(name: str, given: Any, *, thai: bool) -> Instruction:
    if name not in CHECKERS:
        raise ValueError(f"{name} is no instruction that is known: {', '.join(sorted(CHECKERS))}")
    # Tables fill the values that an instruction has not with nothing.
    values = {key: value for key, value in (given or {}).items() if value is not None}
    checker = CHECKERS[name]
    if reason := checker.missing(values):
        raise ValueError(reason)
    if name == "language:response_language" and values["language"] not in SCRIPTS:
        raise ValueError(f"{name} knows {', '.join(sorted(SCRIPTS))} in language, not {values['language']!r}")
    if not thai:
        return Instruction(name, Wish(values))
    folded = {key: _fold(value) for key, value in values.items()}
    return Instruction(name, Wish(folded, thai=True), checker.thai)


def _fold(value: Any) -> Any:
    if isinstance(value, list):
        return [_fold(one) for one in value]
    return fold_thai(value) if isinstance(value, str) else value


def follows(answer: str, instruction: Instruction) -> bool:
    """Strictly; an empty answer follows nothing."""
    text = fold_thai(answer) if instruction.wish.thai else answer
    return bool(text.strip()) and CHECKERS[instruction.name].check(text, instruction.wish)


def follows_loosely(answer: str, instruction: Instruction) -> bool:
    """In any of eight readings."""
    return any(follows(text, instruction) for text in loose_readings(answer))


def loose_readings(answer: str) -> Sequence[str]:
    """The answer; without its first line; without its last; without both; and each of these without asterisks.

    First and last lines often introduce the answer or offer more; asterisks are often only bold print.
    """
    lines = answer.split("\n")
    shorter = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    readings = [answer, *shorter]
    return [*readings, *(text.replace("*", "") for text in readings)]
