"""What checks found in blocks, kept under the hash of everything it depends on.

The same block, checker, version, settings and things to hold it against: the same part. A check that was stopped goes
on from what is here, and a version with a few changed rows is checked where they are.
"""

import hashlib
import json
import os
import uuid
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy

from chanote.checks.base import Part

MOST_BYTES = 4 << 30
"""Of all parts together; beyond, those that were not used for the longest time go."""


def hash_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False, sort_keys=True, default=str).encode()).hexdigest()


def part_path(folder: Path, key: str, block: str) -> Path:
    name = hashlib.sha256(f"{key} {block}".encode()).hexdigest()
    return folder / name[:2] / f"{name}.npz"


def write_part(path: Path, part: Part) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"rows": part.rows, "counts": part.counts, "samples": part.samples}
    arrays: dict[str, Any] = {f"a_{name}": array for name, array in part.arrays.items()}
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        with partial.open("xb") as file:
            numpy.savez(
                file,
                told=numpy.frombuffer(json.dumps(told, ensure_ascii=False).encode(), dtype=numpy.uint8),
                found=numpy.array(part.found, dtype=numpy.int64).reshape(-1, 3),
                **arrays,
            )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_part(path: Path) -> Part | None:
    """None when it is not there, or not whole."""
    try:
        with numpy.load(path) as stored:
            told = json.loads(stored["told"].tobytes())
            return Part(
                rows=told["rows"],
                counts=Counter(told["counts"]),
                samples=told["samples"],
                found=[(int(row), int(code), int(value)) for row, code, value in stored["found"]],
                arrays={name[2:]: stored[name] for name in stored.files if name.startswith("a_")},
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def mark_used(path: Path) -> bool:
    """Whether the part is there; if so, it counts as used now."""
    try:
        os.utime(path)
    except OSError:
        return False
    return True


def prune(folder: Path, most: int = MOST_BYTES) -> int:
    """Remove parts until the rest takes no more than `most` bytes; how many were removed."""
    files = []
    for path in folder.glob("??/*.npz"):
        try:
            told = path.stat()
        except OSError:
            continue
        files.append((told.st_mtime, told.st_size, path))
    size, removed = sum(one[1] for one in files), 0
    for _, bytes_, path in sorted(files):
        if size <= most:
            break
        path.unlink(missing_ok=True)
        size -= bytes_
        removed += 1
    return removed
