"""What a checker is: a question with yes or no about one answer and the wishes of one instruction."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

WORDS, NUMBER = "words", "number"
RELATIONS = ("at least", "less than")


@dataclass(frozen=True)
class Wish:
    """The values of one instruction."""

    values: Mapping[str, Any]
    thai: bool = False
    """The answer is to be in Thai: no case, no spaces between words, no full stops."""

    def number(self, name: str) -> int:
        return int(self.values[name])

    def text(self, name: str) -> str:
        return str(self.values[name])

    def texts(self, name: str) -> list[str]:
        return [str(one) for one in self.values[name]]

    def compare(self, count: int, *, number: str, relation: str) -> bool:
        """`count` is at least, or less than, the number that is asked for."""
        wanted = self.number(number)
        return count >= wanted if self.values[relation] == "at least" else count < wanted


Check = Callable[[str, Wish], bool]


@dataclass(frozen=True)
class Checker:
    name: str
    check: Check
    needs: Mapping[str, type]
    """Values that an instruction must have, by their kind: int, str or list (of texts)."""
    thai: str = ""
    """Why it says nothing of Thai answers; empty when it does."""

    def missing(self, values: Mapping[str, Any]) -> str:
        """Why these values make no wish; empty when they do."""
        for name, kind in self.needs.items():
            value = values.get(name)
            if kind is int and isinstance(value, float) and value.is_integer():
                continue  # tables keep whole numbers so
            if not isinstance(value, kind) or isinstance(value, bool):
                wanted = {int: "a whole number", str: "a text", list: "a list of texts"}[kind]
                return f"{self.name} needs {wanted} in {name}"
            if name.endswith("relation") and value not in RELATIONS:
                return f"{self.name} knows {' and '.join(RELATIONS)} in {name}, not {value!r}"
            if isinstance(value, list) and not all(isinstance(one, str) for one in value):
                return f"{self.name} needs a list of texts in {name}"
        return ""


CHECKERS: dict[str, Checker] = {}
"""Every checker by the name of its instruction."""


def checker(name: str, *, thai: str = "", **needs: type) -> Callable[[Check], Check]:
    """Mark the function that checks an instruction."""

    def mark(check: Check) -> Check:
        CHECKERS[name] = Checker(name, check, needs, thai)
        return check

    return mark
