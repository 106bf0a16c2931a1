"""JSON lines: one object per line, read without holding more than one line."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from chanote.datasets.canonical import LONGEST
from chanote.datasets.errors import BadRow, RowError, refuse
from chanote.datasets.reading.lines import decode_line, read_lines


def read_jsonl(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any]] | BadRow]:
    """(line number, object) for each line that holds anything, or why it cannot be read."""
    for number, line in read_lines(file):
        try:
            if line is None:
                raise RowError(f"is longer than {LONGEST // 2**20} MiB; split it")
            text = decode_line(line)
            if text.strip():
                yield number, parse_object(text)
            elif "\0" in text:
                raise RowError("holds NUL characters; the file is damaged or no text")
        except RowError as error:
            if number == 1:
                _refuse_other_format(line)
            yield BadRow(number, str(error))


def parse_object(text: str) -> dict[str, Any]:
    """The JSON object of a line. Raises RowError for anything else, also for what JSON does not define."""
    try:
        value = json.loads(text, object_pairs_hook=_build_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise RowError(f"is not JSON: {error.msg} at column {error.colno:,}") from None
    except RecursionError:
        raise RowError("is nested too deeply to be read") from None
    except RowError:
        raise
    except ValueError:
        raise RowError("holds a number with too many digits") from None
    if not isinstance(value, dict):
        raise RowError(f'is {NAMES.get(type(value), "a number")}, not an object such as {{"text": …}}')
    return value


NAMES = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise RowError(f"names {twice[:60]!r} twice")
    return content


def _refuse_constant(name: str) -> Any:
    raise RowError(f"holds {name}, which is no JSON number; leave the field out or use null")


def _refuse_other_format(line: bytes | None) -> None:
    """A first line that shows another format ends the reading: thousands of bad rows would only hide the reason."""
    start = (line or b"").lstrip()
    if start.startswith(b"PAR1"):
        raise refuse("format", "The file is Parquet, not JSON lines; choose the format Parquet.")
    if start in (b"[", b"{") or start.startswith(b"[{"):
        raise refuse("file", "The file is one JSON document; write it as JSON lines, one object on each line.")
