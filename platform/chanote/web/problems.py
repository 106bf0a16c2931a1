"""What is wrong with something a person wrote, said so that they can mend it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    field: str
    """Path of the field, such as `stages[1].data[0].dataset`; empty when the whole is meant."""
    message: str
    """One sentence: what is wrong and the way out."""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message

    def facts(self) -> dict[str, Any]:
        """What a program may want to know besides."""
        return {}


def list_pydantic_problems(error: Exception) -> list[Problem]:
    """The problems of a pydantic ValidationError with paths written as people write them."""
    problems = []
    for item in error.errors():  # type: ignore[attr-defined]
        path = ""
        for part in item["loc"]:
            path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "is not a known field; remove it or correct its spelling"
        problems.append(Problem(path, message))
    return problems
