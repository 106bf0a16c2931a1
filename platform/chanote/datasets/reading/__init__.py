"""Formats of files that rows come in, one file each."""

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from chanote.datasets.errors import BadRow, refuse
from chanote.datasets.reading.csv import read_csv
from chanote.datasets.reading.jsonl import read_jsonl
from chanote.datasets.reading.parquet import read_parquet

RawRow = tuple[int, dict[str, Any]]
Reader = Callable[[BinaryIO], Iterator[RawRow | BadRow]]

READERS: dict[str, Reader] = {"jsonl": read_jsonl, "csv": read_csv, "parquet": read_parquet}
ENDINGS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def guess_format(name: str) -> str:
    """The format that a file's name shows, or an empty string."""
    return next((known for ending, known in ENDINGS.items() if name.lower().endswith(ending)), "")


def read_rows(file: BinaryIO, format: str) -> Iterator[RawRow | BadRow]:
    if format not in READERS:
        raise refuse("format", f"The format {format!r} is not known; use {', '.join(READERS)}.")
    return READERS[format](file)


__all__ = ["READERS", "RawRow", "guess_format", "read_rows"]
