"""Rows for a sampler elsewhere: all of them at once, or as the conversations that they belong to bring them forth."""

from collections.abc import Callable, Sequence
from typing import Protocol

from trainer.sampling.engine import Requests, SamplingRequest
from trainer.sampling.rows import Row, RowReader


class Arriving(Protocol):
    """Rows that come while others are in work."""

    def take(self) -> Sequence[Row]:
        """Those that are there now; never waits."""

    def wait(self) -> bool:
        """Wait until there are some to take; False when none will come any more."""

    def ended(self, row: Row) -> None:
        """Take a row back as soon as it has a reason to end."""


class Together:
    """Rows that are all there from the beginning."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = list(rows)

    def take(self) -> Sequence[Row]:
        taken, self._rows = self._rows, []
        return taken

    def wait(self) -> bool:
        return bool(self._rows)

    def ended(self, row: Row) -> None:
        """Whoever gave the rows reads them when all have ended."""


class OfRequests:
    """A row for every request that comes; `check` raises for one that cannot be answered."""

    def __init__(self, requests: Requests, reader: RowReader, *, check: Callable[[int, SamplingRequest], None]) -> None:
        self._requests, self._reader, self._check = requests, reader, check
        self._numbers: dict[Row, int] = {}

    def take(self) -> Sequence[Row]:
        rows = []
        for number, request in self._requests.take():
            self._check(number, request)
            row = self._reader.open(request)
            self._numbers[row] = number
            rows.append(row)
        return rows

    def wait(self) -> bool:
        return self._requests.wait()

    def ended(self, row: Row) -> None:
        self._requests.answer(self._numbers.pop(row), self._reader.close(row))
