"""Canonical dataset files: one JSON object per line, read one row at a time."""

import hashlib
import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.contract.spec import DatasetFile
from trainer.failures import InvalidSpec, RunFailed

Row = dict[str, Any]


class RowFile:
    """A dataset version on disk. Only the byte offset of each row is kept in memory, 8 bytes a row."""

    def __init__(self, name: str, kind: str, path: Path, offsets: "array[int]") -> None:
        self.name = name
        self.kind = kind
        self.path = path
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __iter__(self) -> Iterator[Row]:
        with self.path.open("rb") as file:
            for number, line in enumerate(file):
                if line.strip():
                    yield self._parse(line, number)

    def __getitem__(self, number: int) -> Row:
        start, end = self._offsets[number], self._offsets[number + 1]
        with self.path.open("rb") as file:
            file.seek(start)
            return self._parse(file.read(end - start), number)

    def _parse(self, line: bytes, number: int) -> Row:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise RunFailed(f"row {number + 1} of dataset {self.name} is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise RunFailed(f"row {number + 1} of dataset {self.name} is not a JSON object.")
        return row


def open_rows(name: str, file: DatasetFile) -> RowFile:
    """Find the rows of a dataset version and check that the file is the one the spec froze."""
    path = Path(file.path)
    digest, offsets, position = hashlib.sha256(), array("q", [0]), 0
    try:
        with path.open("rb") as lines:
            for line in lines:
                digest.update(line)
                position += len(line)
                if line.strip():
                    offsets.append(position)
                else:
                    offsets[-1] = position
    except OSError as error:
        raise InvalidSpec(f"datasets.{name}.path: {path} cannot be read ({error.strerror}).") from error
    if digest.hexdigest() != file.sha256:
        raise InvalidSpec(f"datasets.{name}.sha256: {path} has other content than the version that was frozen.")
    if len(offsets) - 1 != file.rows:
        raise InvalidSpec(f"datasets.{name}.rows: {path} holds {len(offsets) - 1} rows, the spec says {file.rows}.")
    return RowFile(name, file.kind, path, offsets)
