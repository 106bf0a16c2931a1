"""Lines of a text file, bounded in memory whatever the file holds."""

from collections.abc import Iterator
from typing import BinaryIO

from chanote.datasets.canonical import LONGEST
from chanote.datasets.errors import RowError, refuse

BOM = b"\xef\xbb\xbf"
OTHER_BOMS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


def check_encoding(start: bytes) -> None:
    """Refuse a file whose first bytes show that it is no UTF-8 text."""
    for mark, name in OTHER_BOMS:
        if start.startswith(mark):
            raise refuse("file", f"The file is encoded as {name}; save it as UTF-8.")
    if start.startswith((b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd")):
        raise refuse("file", "The file is compressed; unpack it first.")


def read_lines(file: BinaryIO, *, ends: bool = False) -> Iterator[tuple[int, bytes | None]]:
    """(number from 1, line without its end, or with it); None stands for a line longer than LONGEST, which is
    skipped."""
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        if number == 1:
            check_encoding(line)
            line = line.removeprefix(BOM)
        if len(line) > LONGEST and not line.endswith(b"\n"):
            while (rest := file.readline(LONGEST)) and not rest.endswith(b"\n"):
                pass
            yield number, None
        else:
            yield number, line if ends else line.rstrip(b"\r\n")


def decode_line(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RowError(f"is not UTF-8 at byte {error.start + 1:,}; save the file as UTF-8") from None
