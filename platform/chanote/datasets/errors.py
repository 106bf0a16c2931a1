"""Why rows or files were not taken."""

from collections.abc import Sequence
from dataclasses import dataclass

from chanote.web.problems import Problem

SHOWN = 100
"""Bad rows that are told one by one; the rest is counted."""


@dataclass(frozen=True)
class BadRow:
    number: int
    """Counted from 1: the line of a JSONL file, the record after the header of a CSV file, the row of a Parquet one."""
    reason: str

    def __str__(self) -> str:
        return f"Row {self.number:,}: {self.reason}"


class RowError(ValueError):
    """A row that cannot be taken; the message is the reason."""


class ImportRefused(ValueError):
    """Nothing was imported. `problems` names fields and rows; `bad_rows` are the first bad rows of `bad_total`."""

    def __init__(
        self, problems: Sequence[Problem] = (), *, bad_rows: Sequence[BadRow] = (), bad_total: int = 0
    ) -> None:
        self.bad_rows = list(bad_rows)[:SHOWN]
        self.bad_total = bad_total
        rows = [Problem(f"rows[{row.number}]", row.reason) for row in self.bad_rows]
        self.problems = [*problems, *rows]
        super().__init__(self._summarise(list(problems)))

    def _summarise(self, problems: list[Problem]) -> str:
        if problems:
            return " ".join(problem.message for problem in problems)
        count = "1 row" if self.bad_total == 1 else f"{self.bad_total:,} rows"
        return f"{count} cannot be taken, so nothing was imported. {self.bad_rows[0]}"

    @property
    def unseen(self) -> int:
        """Bad rows beyond those that are told."""
        return self.bad_total - len(self.bad_rows)


def refuse(field: str, message: str) -> ImportRefused:
    return ImportRefused([Problem(field, message)])
