"""Verifying a bundle that may come from an enemy: nothing is unpacked, nothing is run, memory stays small."""

import hashlib
import json
import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import RawIOBase
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chanote.custody.bundle.form import (
    BLOCK,
    END,
    LARGEST_MANIFEST,
    LARGEST_SIGNATURE,
    MANIFEST,
    PURPOSE,
    SIGNATURE,
    BundleRefused,
    pad,
    read_manifest,
    show,
    write_header,
    write_json,
)
from chanote.custody.bundle.keys import name_key

READ = 1 << 20
SHOWN = 100
PACKED = {
    b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK": "zip",
}  # fmt: skip
OPENED = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Neither a link nor a pipe that somebody put in a file's place while we looked."""


@dataclass
class VerifiedBundle:
    """A bundle whose every byte is what the holder of the key signed."""

    path: Path
    manifest: dict[str, Any]
    key: bytes
    places: dict[str, int] = field(default_factory=dict)
    """Where each file begins, in a tar."""

    @property
    def fingerprint(self) -> str:
        return name_key(self.key)

    @property
    def size(self) -> int:
        return sum(facts["bytes"] for facts in self.manifest["files"].values())

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """One file of the bundle, to read."""
        size = self.manifest["files"][name]["bytes"]
        with (self.path if self.places else self.path / name).open("rb") as file:
            file.seek(self.places.get(name, 0))
            yield Window(file, size)  # type: ignore[misc]

    def read(self, name: str, *, most: int = LARGEST_MANIFEST) -> bytes:
        """A small file whole. Raises BundleRefused for a large one."""
        if self.manifest["files"][name]["bytes"] > most:
            raise BundleRefused(f"{name} is larger than {most:,} bytes.")
        with self.open(name) as file:
            return file.read()


class Window(RawIOBase):
    """The next `size` bytes of a file, as a file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._file.read(min(len(buffer), self._left))
        self._left -= len(block)
        buffer[: len(block)] = block
        return len(block)


def verify_bundle(path: Path, *, public_key: bytes | None = None) -> VerifiedBundle:
    """Check every byte of a bundle. Raises BundleRefused with every fault that was found.

    Without `public_key` the bundle's own key is used: then all is as somebody signed it, and who that was must be
    told by the fingerprint. OSError passes for a path that cannot be read.
    """
    kind = os.lstat(path).st_mode
    if stat.S_ISLNK(kind):
        raise BundleRefused(f"{path} is a symbolic link; name the bundle itself.")
    if stat.S_ISDIR(kind):
        return _verify_directory(path, public_key)
    if stat.S_ISREG(kind):
        return _verify_tar(path, public_key)
    raise BundleRefused(f"{path} is neither a directory nor a file.")


def check_signature(content: bytes, signature: bytes, public_key: bytes | None) -> bytes:
    """The key under which the manifest is signed. Raises BundleRefused."""
    try:
        told = json.loads(signature)
        key, signed = bytes.fromhex(told["public_key"]), bytes.fromhex(told["signature"])
        whole = write_json({"algorithm": "Ed25519", "public_key": key.hex(), "signature": signed.hex()}) == signature
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise BundleRefused(f"{SIGNATURE} is damaged.")
    if public_key is not None and key != public_key:
        raise BundleRefused(
            f"{SIGNATURE} is by the key {name_key(key)}, not by the one that was given, {name_key(public_key)}."
        )
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signed, PURPOSE + content)
    except (InvalidSignature, ValueError):
        raise BundleRefused(f"{MANIFEST} is not what was signed, or {SIGNATURE} is damaged.") from None
    return key


def _verify_directory(path: Path, public_key: bytes | None) -> VerifiedBundle:
    found, folders, faults = _list_directory(path)
    for name in (MANIFEST, SIGNATURE):
        if name not in found:
            raise BundleRefused(f"{name} is missing: this is no bundle.", *faults)
    content = _read_small(path / MANIFEST, MANIFEST, LARGEST_MANIFEST)
    key = check_signature(content, _read_small(path / SIGNATURE, SIGNATURE, LARGEST_SIGNATURE), public_key)
    manifest = read_manifest(content)
    files = manifest["files"]
    faults += [f"{show(name)} is not in the manifest." for name in sorted(found - {MANIFEST, SIGNATURE} - set(files))]
    known = {"/".join(name.split("/")[:end]) for name in files for end in range(1, name.count("/") + 1)}
    faults += [f"{show(name)}/ is not in the manifest." for name in sorted(folders - known)]
    for name, facts in sorted(files.items()):
        if name not in found:
            if not any(fault.startswith(f"{name} is") for fault in faults):
                faults.append(f"{name} is missing.")
            continue
        with os.fdopen(os.open(path / name, OPENED), "rb") as file:
            if fault := _check_content(file, name, facts, whole=True):
                faults.append(fault)
    if faults:
        raise BundleRefused(*faults[:SHOWN])
    return VerifiedBundle(path, manifest, key)


def _list_directory(path: Path) -> tuple[set[str], set[str], list[str]]:
    """Names of plain files, names of folders, and a fault for everything else."""
    found: set[str] = set()
    folders: set[str] = set()
    faults: list[str] = []
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        with os.scandir(path / prefix) as entries:
            for entry in entries:
                name = prefix + entry.name
                kind = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(kind):
                    folders.add(name)
                    waiting.append(f"{name}/")
                elif stat.S_ISREG(kind):
                    found.add(name)
                else:
                    what = "a symbolic link" if stat.S_ISLNK(kind) else "no plain file"
                    faults.append(f"{show(name)} is {what}; a bundle holds plain files alone.")
    return found, folders, sorted(faults)


def _read_small(path: Path, name: str, most: int) -> bytes:
    with os.fdopen(os.open(path, OPENED), "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise BundleRefused(f"{name} is larger than {most:,} bytes.")
    return content


def _verify_tar(path: Path, public_key: bytes | None) -> VerifiedBundle:
    faults: list[str] = []
    with os.fdopen(os.open(path, OPENED), "rb") as file:
        content = _read_head(file, MANIFEST, LARGEST_MANIFEST)
        signature = _read_head(file, SIGNATURE, LARGEST_SIGNATURE)
        key = check_signature(content, signature, public_key)
        bundle = VerifiedBundle(path, read_manifest(content), key)
        for name, facts in sorted(bundle.manifest["files"].items()):
            header = write_header(name, facts["bytes"])
            if file.read(len(header)) != header:
                raise BundleRefused(*faults, f"{name}: its header in the archive is damaged, or it is missing.")
            bundle.places[name] = file.tell()
            if fault := _check_content(file, name, facts):
                faults.append(fault)
            _check_padding(file, name, facts["bytes"], faults)
        if file.read(len(END)) != END:
            faults.append("The end of the archive is damaged.")
        elif file.read(1):
            faults.append("Something follows the end of the archive.")
    if faults:
        raise BundleRefused(*faults[:SHOWN])
    return bundle


def _read_head(file: BinaryIO, name: str, most: int) -> bytes:
    """One of the two members whose length nobody knows beforehand."""
    header = file.read(BLOCK)
    for magic, packer in PACKED.items():
        if header.startswith(magic):
            raise BundleRefused(f"This is packed with {packer}; unpack it first. A bundle itself is never packed.")
    try:
        size = tarfile.TarInfo.frombuf(header, "utf-8", "strict").size
    except (tarfile.HeaderError, ValueError):
        size = -1
    if not 0 < size <= most or write_header(name, size) != header:
        raise BundleRefused(f"{name}: its header is damaged, or this is no bundle.")
    content = file.read(size)
    faults: list[str] = []
    if len(content) < size:
        faults.append(f"{name}: the archive ends within it.")
    _check_padding(file, name, size, faults)
    if faults:
        raise BundleRefused(*faults)
    return content


def _check_content(file: BinaryIO, name: str, facts: dict[str, Any], *, whole: bool = False) -> str:
    """What is wrong with the next `bytes` bytes; `whole` where the file must end with them."""
    digest, left = hashlib.sha256(), facts["bytes"]
    while left and (block := file.read(min(READ, left))):
        digest.update(block)
        left -= len(block)
    if left:
        return f"{name} is shorter than the manifest says."
    if whole and file.read(1):
        return f"{name} is longer than the manifest says."
    return "" if digest.hexdigest() == facts["sha256"] else f"{name} is not what was signed."


def _check_padding(file: BinaryIO, name: str, size: int, faults: list[str]) -> None:
    if file.read(pad(size)) != bytes(pad(size)):
        faults.append(f"{name}: the bytes that fill up the archive after it are damaged.")
