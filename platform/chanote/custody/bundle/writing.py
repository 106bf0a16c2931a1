"""Writing a bundle: hash every part, sign the manifest, write it all, or nothing."""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chanote.custody.bundle.form import (
    END,
    FORMAT,
    MANIFEST,
    PURPOSE,
    SIGNATURE,
    BundleRefused,
    Part,
    check_name,
    pad,
    read_manifest,
    write_header,
    write_json,
)
from chanote.custody.bundle.verifying import VerifiedBundle

COPIED = 1 << 20
Progress = Callable[[int, int, str], None]
"""Bytes done, bytes to do, name of the file."""


def write_bundle(
    target: Path,
    parts: Sequence[Part],
    about: dict[str, Any],
    key: Ed25519PrivateKey,
    *,
    report: Progress | None = None,
) -> dict[str, Any]:
    """Write a bundle and return its manifest: a tar when `target` ends in .tar, else a directory.

    `about` has kind, name and inputs. The parts are read twice, and what changes in between is refused. Raises
    BundleRefused, FileExistsError where the target exists, and OSError; then nothing is left at the target.
    """
    progress = Counter(report, 2 * sum(part.size() for part in parts))
    manifest = {**about, "format": FORMAT, "files": {}}
    for part in parts:
        if fault := check_name(part.name):
            raise BundleRefused(f"{part.name!r} {fault}; rename it.")
        manifest["files"][part.name] = hash_part(part, progress)
    content = write_json(manifest)
    read_manifest(content)
    heads = {MANIFEST: content, SIGNATURE: sign_manifest(content, key)}
    if target.exists() or target.is_symlink():
        raise FileExistsError(17, "there is already something of this name", str(target))
    partial = target.with_name(f"{target.name}.partial")
    _remove(partial)
    try:
        if target.suffix == ".tar":
            _write_tar(partial, heads, parts, manifest, progress)
        else:
            _write_directory(partial, heads, parts, manifest, progress)
        partial.rename(target)
    finally:
        _remove(partial)
    return manifest


def sign_manifest(content: bytes, key: Ed25519PrivateKey) -> bytes:
    return write_json(
        {
            "algorithm": "Ed25519",
            "public_key": key.public_key().public_bytes_raw().hex(),
            "signature": key.sign(PURPOSE + content).hex(),
        }
    )


class Counter:
    def __init__(self, report: Progress | None, total: int) -> None:
        self.report, self.total, self.done = report, total, 0

    def add(self, count: int, name: str) -> None:
        self.done += count
        if self.report:
            self.report(self.done, self.total, name)


def hash_part(part: Part, progress: Counter) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    for block in _read(part):
        digest.update(block)
        size += len(block)
        progress.add(len(block), part.name)
    return {"bytes": size, "sha256": digest.hexdigest()}


def _write_tar(
    partial: Path, heads: dict[str, bytes], parts: Sequence[Part], manifest: dict[str, Any], progress: Counter
) -> None:
    with partial.open("xb") as file:
        for name, content in heads.items():
            file.write(write_header(name, len(content)) + content + bytes(pad(len(content))))
        for part in sorted(parts, key=lambda one: one.name):
            size = manifest["files"][part.name]["bytes"]
            file.write(write_header(part.name, size))
            _copy(part, file, manifest["files"][part.name], progress)
            file.write(bytes(pad(size)))
        file.write(END)
        file.flush()
        os.fsync(file.fileno())


def _write_directory(
    partial: Path, heads: dict[str, bytes], parts: Sequence[Part], manifest: dict[str, Any], progress: Counter
) -> None:
    partial.mkdir(parents=True)
    for name, content in heads.items():
        (partial / name).write_bytes(content)
    for part in parts:
        path = partial / part.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            _copy(part, file, manifest["files"][part.name], progress)
            file.flush()
            os.fsync(file.fileno())


def _copy(part: Part, file: BinaryIO, facts: dict[str, Any], progress: Counter) -> None:
    digest = hashlib.sha256()
    for block in _read(part):
        digest.update(block)
        file.write(block)
        progress.add(len(block), part.name)
    if digest.hexdigest() != facts["sha256"]:
        raise BundleRefused(f"{part.name} changed while it was written; export again when nothing writes to it.")


def _read(part: Part) -> Any:
    if part.path is None:
        yield part.content
        return
    with part.path.open("rb") as file:
        while block := file.read(COPIED):
            yield block


def _remove(partial: Path) -> None:
    if partial.is_dir() and not partial.is_symlink():
        shutil.rmtree(partial)
    else:
        partial.unlink(missing_ok=True)


def pack_bundle(bundle: VerifiedBundle, target: Path) -> None:
    """A verified directory as the tar that its maker's key signed just as well."""
    heads = {name: (bundle.path / name).read_bytes() for name in (MANIFEST, SIGNATURE)}
    parts = [Part(name, path=bundle.path / name) for name in bundle.manifest["files"]]
    _write_tar(target, heads, parts, bundle.manifest, Counter(None, 0))
