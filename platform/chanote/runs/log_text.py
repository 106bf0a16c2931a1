"""Reading the logs of an attempt: the last lines of a file that may be large, torn and full of terminal codes."""

import re
from dataclasses import dataclass
from pathlib import Path

from chanote.runs.models import Attempt

STREAMS = ("stderr", "stdout")
MOST_LINES = 5000
MOST_BYTES = 2_000_000
"""Read at once; a longer file is shown from its end."""

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: titles, links
    r"|\x1b[PX^_].*?\x1b\\"  # DCS, SOS, PM, APC
    r"|\x1b[@-Z\\^_=>78c]",
    re.DOTALL,
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f]")


@dataclass(frozen=True)
class LogText:
    lines: list[str]
    cut: bool
    """Earlier lines were left out."""
    offset: int
    """Byte offset after the text, from which to read on."""
    size: int
    exists: bool


def log_path(attempt: Attempt, stream: str) -> Path:
    if stream not in STREAMS:
        raise ValueError(f"no stream {stream}")
    return Path(attempt.directory) / f"{stream}.log"


def clean_text(text: str) -> str:
    """The text as a terminal would leave it: no escape sequences, of a line rewritten in place only its last form."""
    text = _ESCAPES.sub("", text).replace("\r\n", "\n")
    if "\r" in text:
        text = "\n".join(next((part for part in reversed(line.split("\r")) if part), "") for line in text.split("\n"))
    return _CONTROLS.sub("", text)


def has_text(attempt: Attempt, stream: str) -> bool:
    try:
        return log_path(attempt, stream).stat().st_size > 0
    except OSError:
        return False


def read_tail(attempt: Attempt, stream: str) -> LogText:
    """At most the last MOST_LINES lines within the last MOST_BYTES bytes."""
    try:
        with log_path(attempt, stream).open("rb") as file:
            size = file.seek(0, 2)
            start = max(0, size - MOST_BYTES)
            file.seek(start)
            data = file.read(size - start)
    except OSError:
        return LogText([], cut=False, offset=0, size=0, exists=False)
    if start:
        data = data.partition(b"\n")[2]
    lines = clean_text(data.decode("utf-8", "replace")).split("\n")
    if lines and not lines[-1]:
        lines.pop()
    cut = bool(start) or len(lines) > MOST_LINES
    return LogText(lines[-MOST_LINES:], cut, size, size, exists=True)


def read_on(attempt: Attempt, stream: str, offset: int) -> LogText:
    """Whole lines after `offset`; a line still being written waits. A file that shrank is read from its start."""
    try:
        with log_path(attempt, stream).open("rb") as file:
            size = file.seek(0, 2)
            start = 0 if offset > size else offset
            file.seek(start)
            data = file.read(min(size - start, MOST_BYTES))
    except OSError:
        return LogText([], cut=False, offset=0, size=0, exists=False)
    whole, newline, _rest = data.rpartition(b"\n")
    if not newline:
        return LogText([], cut=False, offset=start, size=size, exists=True)
    lines = clean_text(whole.decode("utf-8", "replace")).split("\n")
    return LogText(lines[-MOST_LINES:], len(lines) > MOST_LINES, start + len(whole) + 1, size, exists=True)
