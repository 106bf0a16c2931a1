"""Files of findings: arrays of FINDING sorted by row, content-addressed in the store like rows.

A million rows with a finding each take 14 MB. What is looked up is found by bisection in the mapped file.
"""

import hashlib
import io
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy

from chanote.checks.base import FINDING, Array
from chanote.datasets.storage import StoreError, incoming, keep_file, local_path, name_of


@dataclass(frozen=True)
class Finding:
    row: int
    """From 1."""
    code: str
    value: int


def keep_findings(arrays: Iterable[Array]) -> str:
    """Put findings into the store; the hash of the file, or nothing where there are none."""
    arrays = [array for array in arrays if len(array)]
    if not arrays:
        return ""
    stream = io.BytesIO()
    numpy.save(stream, numpy.concatenate(arrays))
    return keep_bytes(stream.getvalue())


def keep_detail(detail: dict[str, Any]) -> str:
    return keep_bytes(json.dumps(detail, ensure_ascii=False, sort_keys=True).encode()) if detail else ""


def keep_bytes(content: bytes) -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    folder = incoming()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / uuid.uuid4().hex
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        keep_file(path, name_of(sha256))
    finally:
        path.unlink(missing_ok=True)
    return sha256


def open_findings(sha256: str) -> Array:
    """Raises StoreError when the file is gone."""
    if not sha256:
        return numpy.empty(0, dtype=FINDING)
    try:
        found: Array = numpy.load(local_path(name_of(sha256), sha256), mmap_mode="r")
    except (OSError, ValueError) as error:
        raise StoreError(f"The findings {sha256[:8]} are missing from the store; run the check again.") from error
    return found


def open_detail(sha256: str) -> dict[str, Any]:
    """Raises StoreError when the file is gone."""
    if not sha256:
        return {}
    try:
        detail: dict[str, Any] = json.loads(local_path(name_of(sha256), sha256).read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"The details {sha256[:8]} are missing from the store; run the check again.") from error
    return detail


def of_rows(found: Array, codes: list[str], first: int, stop: int) -> Iterator[Finding]:
    """Findings of rows `first` to `stop` (from 0, `stop` not included)."""
    rows = found["row"]
    low, high = numpy.searchsorted(rows, [first, stop])
    for one in found[low:high]:
        if int(one["code"]) < len(codes):
            yield Finding(int(one["row"]) + 1, codes[int(one["code"])], int(one["value"]))


def count_rows(arrays: Iterable[Array], codes: set[int]) -> int:
    """Rows with a finding of one of the codes."""
    wanted = numpy.array(sorted(codes), dtype=numpy.uint16)
    rows = [numpy.unique(array["row"][numpy.isin(array["code"], wanted)]) for array in arrays]
    return len(numpy.unique(numpy.concatenate(rows))) if rows else 0
