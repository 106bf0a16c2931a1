"""CSV with a header line. The delimiter is the one of comma, semicolon and tab that splits the header most."""

import csv
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from chanote.datasets.canonical import LONGEST
from chanote.datasets.errors import BadRow, RowError, refuse
from chanote.datasets.reading.lines import decode_line, read_lines

DELIMITERS = (",", ";", "\t")
NONE = "\0"
"""No row may hold it."""
QUOTED = re.compile(r'"(?:[^"]|"")*"')
csv.field_size_limit(LONGEST)


def read_csv(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any]] | BadRow]:
    """(record number after the header, cells by column), or why the record cannot be read."""
    lines = _Lines(file)
    try:
        first = next(lines, None)
    except RowError as error:
        raise refuse("file", f"The header line {error}.") from None
    if first is None:
        return
    bare = QUOTED.sub("", first)
    # Where the header names one column nothing divides cells, and a comma in a cell is a comma.
    delimiter = max(DELIMITERS, key=bare.count) if any(one in bare for one in DELIMITERS) else NONE
    records = csv.reader(_Chain(first, lines), delimiter=delimiter, strict=True)
    header = _read_header(records)
    number = 0
    while True:
        number += 1
        try:
            cells = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(number, f"is not CSV: {error} (line {lines.number:,} of the file)")
            return
        except RowError as error:
            yield BadRow(number, f"line {lines.number:,} of the file {error}")
            continue
        if not cells:
            number -= 1
            continue
        if len(cells) != len(header):
            yield BadRow(number, f"has {len(cells)} cells, the header names {len(header)} (line {lines.number:,})")
            continue
        yield number, dict(zip(header, cells, strict=True))


class _Lines:
    """Decoded lines with their own line ends, since a quoted cell may span several and they are part of it."""

    def __init__(self, file: BinaryIO) -> None:
        self._lines = read_lines(file, ends=True)
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        if line is None:
            raise RowError(f"is longer than {LONGEST // 2**20} MiB; split it")
        return decode_line(line)


class _Chain:
    """Not itertools.chain or a generator: one that has raised is over, and one bad line must not end the file."""

    def __init__(self, first: str, rest: Iterator[str]) -> None:
        self._first: str | None = first
        self._rest = rest

    def __iter__(self) -> "_Chain":
        return self

    def __next__(self) -> str:
        if self._first is not None:
            line, self._first = self._first, None
            return line
        return next(self._rest)


def _read_header(records: Any) -> list[str]:
    try:
        header = [name.strip() for name in next(records)]
    except csv.Error as error:
        raise refuse("file", f"The header line is not CSV: {error}.") from None
    except RowError as error:
        raise refuse("file", f"The header {error}.") from None
    except StopIteration:
        raise refuse("file", "The file has no header line; name the columns in its first line.") from None
    for place, name in enumerate(header, start=1):
        if not name:
            raise refuse("file", f"Column {place} has no name; name every column in the first line.")
        if header.count(name) > 1:
            raise refuse("file", f"Two columns are named {name!r}; rename one of them.")
    return header
