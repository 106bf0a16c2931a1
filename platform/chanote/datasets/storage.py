"""The content-addressed store of canonical rows: `sha256/ab/cd/<hash>`, and beside each file its index.

The index holds the byte offset of every row and the length of the file as little-endian unsigned 64-bit numbers.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import uuid
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from django.conf import settings
from django.core.files import File
from django.core.files.storage import FileSystemStorage, storages

from chanote.datasets.errors import refuse
from chanote.datasets.models import DatasetVersion
from trainer.contract.hashing import hash_file

OFFSET_BYTES = 8


class StoreError(Exception):
    """Rows that the database names are missing from the store, or are not what they were."""


class RowWriter:
    """Rows on their way into the store: a temporary file that becomes visible under its hash, or vanishes."""

    def __init__(self) -> None:
        folder = incoming()
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / uuid.uuid4().hex
        self._index_path = self._path.with_suffix(".index")
        self._file: BinaryIO = self._path.open("xb", buffering=1 << 20)
        self._index = self._index_path.open("xb", buffering=1 << 16)
        self._digest = hashlib.sha256()
        self.bytes = 0
        self.rows = 0
        self._write_offset()

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for file in (self._file, self._index):
            # A full disk also fails the last flush; the file goes away next.
            with contextlib.suppress(OSError):
                file.close()
        self._path.unlink(missing_ok=True)
        self._index_path.unlink(missing_ok=True)

    def write(self, line: bytes) -> None:
        self._file.write(line)
        self._digest.update(line)
        self.bytes += len(line)
        self.rows += 1
        self._write_offset()
        if self.rows % 10_000 == 0:
            check_space()

    def _write_offset(self) -> None:
        self._index.write(self.bytes.to_bytes(OFFSET_BYTES, "little"))

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def keep(self) -> str:
        """Put the rows into the store under their hash, which is returned. The same rows again change nothing."""
        for file in (self._file, self._index):
            file.flush()
            os.fsync(file.fileno())
            file.close()
        name = name_of(self.sha256)
        keep_file(self._index_path, f"{name}.index")
        keep_file(self._path, name)
        return self.sha256


def check_space() -> None:
    free = shutil.disk_usage(settings.HOME).free
    if free < settings.MINIMUM_FREE_BYTES:
        raise refuse(
            "file", f"Only {free // 10**6:,} MB are left on the disk of the platform; make room and try again."
        )


def name_of(sha256: str) -> str:
    return f"sha256/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def incoming() -> Path:
    """Where files wait that are not yet in the store; on the file system of the store where it has one."""
    storage = storages["artifacts"]
    if isinstance(storage, FileSystemStorage):
        return Path(storage.location) / "incoming"
    return Path(settings.HOME) / "incoming"


def keep_file(path: Path, name: str) -> None:
    """Move a complete file into the store; atomic where the store is a directory."""
    storage = storages["artifacts"]
    if isinstance(storage, FileSystemStorage):
        target = Path(storage.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        path.chmod(0o440)
        path.replace(target)
        _sync_directory(target.parent)
    elif not storage.exists(name):
        with path.open("rb") as file:
            storage.save(name, File(file))


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def version_path(version: DatasetVersion) -> Path:
    """Local file with the canonical rows of a version.

    Where the store is a directory, the file is not looked at; from another store it is fetched and its hash checked,
    which raises StoreError when the rows are gone or changed.
    """
    return local_path(name_of(version.sha256), version.sha256)


def local_path(name: str, sha256: str = "") -> Path:
    """Local file of something in the store, fetched where the store is no directory. Raises StoreError."""
    storage = storages["artifacts"]
    if isinstance(storage, FileSystemStorage):
        return Path(storage.path(name))
    copy = Path(settings.HOME) / "cache" / name
    if not copy.is_file():
        _fetch(name, copy, sha256)
    return copy


def _fetch(name: str, copy: Path, sha256: str) -> None:
    storage = storages["artifacts"]
    if not storage.exists(name):
        raise StoreError(f"{name} is missing from the store; restore it from a backup.")
    copy.parent.mkdir(parents=True, exist_ok=True)
    partial = copy.with_name(f"{copy.name}.{uuid.uuid4().hex}")
    try:
        with storage.open(name, "rb") as source, partial.open("xb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        if sha256 and hash_file(partial) != sha256:
            raise StoreError(f"{name} in the store has other content than its name says; restore it from a backup.")
        partial.replace(copy)
    finally:
        partial.unlink(missing_ok=True)


def check_content(version: DatasetVersion) -> None:
    """Raise StoreError unless the rows in the store still have the hash of the version."""
    _open(version).close()
    if hash_file(version_path(version)) != version.sha256:
        raise StoreError(f"The rows of {version} in the store are not the ones that were imported; restore them.")


def open_rows(version: DatasetVersion, start: int = 0, stop: int | None = None) -> Iterator[dict[str, Any]]:
    """Rows `start` to `stop` (counted from 0, `stop` not included), read from the middle of the file at once."""
    for line in open_lines(version, start, stop):
        yield json.loads(line)


def open_lines(version: DatasetVersion, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """Canonical lines `start` to `stop`."""
    stop = version.rows if stop is None else min(stop, version.rows)
    if start >= stop:
        return
    with _open(version) as file:
        file.seek(find_offset(version, start))
        for _ in range(start, stop):
            yield file.readline()


def _open(version: DatasetVersion) -> BinaryIO:
    try:
        return version_path(version).open("rb")
    except OSError as error:
        name = name_of(version.sha256)
        raise StoreError(
            f"The rows of {version} are missing from the store ({error.strerror}); restore {name} from a backup."
        ) from error


def find_offset(version: DatasetVersion, row: int) -> int:
    """Byte at which a row (from 0) begins."""
    with _index_path(version).open("rb") as index:
        index.seek(row * OFFSET_BYTES)
        return int.from_bytes(index.read(OFFSET_BYTES), "little")


def _index_path(version: DatasetVersion) -> Path:
    try:
        path = local_path(f"{name_of(version.sha256)}.index")
    except StoreError:
        return _write_index(version)
    whole = path.is_file() and path.stat().st_size == (version.rows + 1) * OFFSET_BYTES
    return path if whole else _write_index(version)


def _write_index(version: DatasetVersion) -> Path:
    """Make the index anew from the rows: it can always be."""
    offsets = array("Q", [0])
    with _open(version) as file:
        for line in file:
            offsets.append(offsets[-1] + len(line))
    if sys.byteorder == "big":
        offsets.byteswap()
    folder = incoming()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uuid.uuid4().hex}.index"
    path.write_bytes(offsets.tobytes())
    name = f"{name_of(version.sha256)}.index"
    keep_file(path, name)
    path.unlink(missing_ok=True)
    return local_path(name)
