"""The append-only file by which an attempt tells what it does."""

import fcntl
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from trainer.contract.events import Event, EventLine, NonFinite, parse_event
from trainer.failures import EventsUnwritable, RunFailed


def json_number(value: float) -> float | NonFinite:
    """The value as the contract writes it: JSON has no word for NaN and the infinities."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


class EventLog:
    """JSON lines with `seq` counting from 0 without gaps. Each event is one write, so a kill loses none before it.

    `tell` is given every event that has been written.
    """

    def __init__(self, path: Path, *, tell: Callable[[Event], None] | None = None) -> None:
        self.path = path
        self._tell = tell
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise EventsUnwritable(f"{path} cannot be opened ({error.strerror}); free or repair that place.") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise EventsUnwritable(f"another process already writes {path}; wait for it or stop it.") from error
        self._next_seq = self._continue_file()

    def emit(self, event: Event) -> None:
        """Append one event; raises EventsUnwritable and leaves no torn line when the disk refuses it."""
        line = EventLine(seq=self._next_seq, at=time.time(), event=event).model_dump_json().encode() + b"\n"
        start = os.fstat(self._file).st_size
        try:
            rest = line
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            os.ftruncate(self._file, start)
            raise EventsUnwritable(f"{self.path} takes no more events ({error.strerror}); free some space.") from error
        self._next_seq += 1
        if self._tell is not None:
            self._tell(event)

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _continue_file(self) -> int:
        """Cut off a last line torn by a crash and return the number after the last whole one."""
        size = os.fstat(self._file).st_size
        whole = _end_of_last_line(self._file, size)
        if whole < size:
            os.ftruncate(self._file, whole)
        if whole == 0:
            return 0
        start = _end_of_last_line(self._file, whole - 1)
        try:
            return parse_event(os.pread(self._file, whole - start, start)).seq + 1
        except ValueError as error:
            raise RunFailed(f"the last line of {self.path} is no event; start a new attempt.") from error


class Silence(EventLog):
    """The log of every rank but the first: it tells nobody anything."""

    def __init__(self) -> None:
        self.path = Path(os.devnull)

    def emit(self, event: Event) -> None:
        pass

    def close(self) -> None:
        pass


def last_event(path: Path) -> Event | None:
    """The last event that stands whole in a file; None when there is none."""
    lines = path.read_bytes().rpartition(b"\n")[0].splitlines()
    return parse_event(lines[-1]).event if lines else None


def _end_of_last_line(file: int, size: int, *, block: int = 1 << 16) -> int:
    """Offset after the last newline within the first `size` bytes; 0 when there is none."""
    end = size
    while end > 0:
        start = max(0, end - block)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
