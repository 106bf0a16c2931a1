"""The answer picks the right option: 1[picked = right], with the picked option read strictly.

An option is picked, in this order of precedence, when

1. the answer is nothing but a label (`B`, `(b)`, `ข.`, `ข้อ 2`), or nothing but the text of one option;
2. the answer says so (`The answer is B`, `คำตอบคือ ข`, `Antwort: 2`); the last such statement counts;
3. the answer begins with a label and a mark after it (`B) Bangkok`).

Anything else picks nothing and is worth 0. Labels A, ก and 1 all name the first option; digits of any script count.
"""

import re
from collections.abc import Sequence

from trainer.contract.rewards.multiple_choice import MultipleChoiceReward
from trainer.evaluation.folding import fold_digits, normalise
from trainer.rewards.base import Answer, Fault, Row, SingleReward
from trainer.rewards.reading import read_answer

LATIN, THAI = "ABCDEFGHIJ", "กขคงจฉชซฌญ"
# A label ends where no letter, digit, Thai vowel sign or decimal follows.
LABEL = rf"(?P<label>10|[1-9]|[{LATIN}]|[{THAI}])(?![\w\u0E00-\u0E7F]|[.,][0-9])"
ALONE = re.compile(rf"[\s*_\"'(\[]*(?:ข้อ|option|choice)?[\s*_\"'(\[]*{LABEL}[\s*_\"')\].:]*", re.IGNORECASE)
STATED = re.compile(
    r"(?i:answer|antwort|option|choice|คำตอบ|ตอบ|ข้อ)"
    r"(?i:[\s:=*_\"'(\[]|\bis\b|\bist\b|\bthe\b|\boption\b|\bchoice\b|คือ|ข้อ|ที่|ถูก|ต้อง)*" + LABEL
)
LEADING = re.compile(rf"[\s*_\"'(\[]*{LABEL}\s*[).:\]]")


def pick_option(text: str, *, count: int, choices: Sequence[str] = ()) -> int | None:
    """Index from 0 of the option that the text picks out of `count`; None when it picks none."""
    text = fold_digits(normalise(text))
    if found := ALONE.fullmatch(text):
        return _index(found["label"], count)
    written = [place for place, choice in enumerate(choices) if _bare(choice) == _bare(text)]
    if len(written) == 1:
        return written[0]
    stated = list(STATED.finditer(text))
    found = stated[-1] if stated else LEADING.match(text)
    return _index(found["label"], count) if found else None


def _bare(text: str) -> str:
    return fold_digits(normalise(text)).rstrip(" .").casefold()


def _index(label: str, count: int) -> int | None:
    index = int(label) - 1 if label.isdigit() else LATIN.find(label.upper()) if label.isascii() else THAI.find(label)
    return index if 0 <= index < count else None


class MultipleChoice(SingleReward):
    config_class = MultipleChoiceReward
    config: MultipleChoiceReward
    range = (0.0, 1.0)

    def value(self, answer: Answer) -> float:
        right = self._right(answer.row)
        if right is None:
            raise Fault(f"The row has {self.missing(answer.row)}.")
        choices = self._choices(answer.row)
        picked = pick_option(
            read_answer(answer, self.config), count=len(choices) or self.config.options, choices=choices
        )
        return float(picked == right)

    def missing(self, row: Row) -> str:
        if reason := super().missing(row):
            return reason
        return "" if self._right(row) is not None else f"a `{self.config.reference}` that names none of its options"

    def _choices(self, row: Row) -> list[str]:
        listed = row.get(self.config.choices)
        return [str(choice) for choice in listed] if isinstance(listed, list) else []

    def _right(self, row: Row) -> int | None:
        reference, choices = row.get(self.config.reference), self._choices(row)
        count = len(choices) or self.config.options
        if isinstance(reference, bool):
            return None
        if isinstance(reference, int):
            return reference if 0 <= reference < count else None
        if not isinstance(reference, str):
            return None
        if reference in choices:
            return choices.index(reference)
        return pick_option(reference, count=count, choices=choices)
