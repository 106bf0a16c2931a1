"""What a bundle is, to the byte: a manifest, its signature, and the files that the manifest names.

    MANIFEST.json    kind, name, inputs, and of every other file its length and SHA-256
    SIGNATURE.json   public key and Ed25519 signature of PURPOSE + the bytes of the manifest
    …                the files

As a directory, or as a plain tar with these members in this order, the files sorted by name, each under a header that
follows from its name and length alone, and 1,024 zero bytes at the end. Nothing in a bundle is free to vary: that is
why one flipped byte anywhere is found. It is never compressed, so that nothing in it can be larger than it looks.
"""

import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = 1
MANIFEST, SIGNATURE = "MANIFEST.json", "SIGNATURE.json"
PURPOSE = b"chanote bundle 1\n"
"""Comes before what is signed, so that the key's signature under something else never fits a bundle."""
KINDS = ("model", "dataset")
LARGEST_MANIFEST = 64 * 2**20
LARGEST_SIGNATURE = 4096
LARGEST_FILE = 2**46
LONGEST_NAME = 240
BLOCK = 512
END = bytes(2 * BLOCK)
SEGMENT = re.compile(r"[A-Za-z0-9._+@=, -]+\Z")
HASH = re.compile(r"[0-9a-f]{64}\Z")


class BundleRefused(Exception):
    """Not what its maker signed, or no bundle. `faults` are sentences, each naming its file."""

    def __init__(self, *faults: str) -> None:
        self.faults = list(faults)
        super().__init__(" ".join(faults))


@dataclass(frozen=True)
class Part:
    """A file on its way into a bundle: on the disk, or small and in memory."""

    name: str
    path: Path | None = None
    content: bytes = b""

    def size(self) -> int:
        return self.path.stat().st_size if self.path else len(self.content)


def write_json(value: Any) -> bytes:
    """The one spelling of a JSON value in a bundle."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, indent=1)
    return text.encode("utf-8") + b"\n"


def check_name(name: str) -> str:
    """What is wrong with a file's name in a bundle; empty for nothing."""
    segments = name.split("/")
    if not name or len(name) > LONGEST_NAME:
        return f"has a name of {len(name):,} characters; 1 to {LONGEST_NAME} are taken"
    if name in (MANIFEST, SIGNATURE):
        return "has a name that belongs to the bundle itself"
    if any(segment in ("", ".", "..") for segment in segments):
        return "leads out of the bundle"
    if not all(SEGMENT.match(segment) and segment == segment.strip() for segment in segments):
        return "has a name with other characters than letters, digits, spaces and ._+@=,-"
    return ""


def read_manifest(content: bytes) -> dict[str, Any]:
    """The manifest, checked. Raises BundleRefused."""
    try:
        manifest = json.loads(content)
        same = isinstance(manifest, dict) and write_json(manifest) == content
    except (ValueError, RecursionError):
        raise BundleRefused(f"{MANIFEST} is not JSON.") from None
    if not same:
        raise BundleRefused(f"{MANIFEST} is not written as this program writes it.")
    if manifest.get("format") != FORMAT:
        raise BundleRefused(
            f"{MANIFEST} has format {str(manifest.get('format'))[:20]}; this program reads {FORMAT}. Update it."
        )
    files, title = manifest.get("files"), manifest.get("name")
    if manifest.get("kind") not in KINDS or not isinstance(title, str) or not isinstance(files, dict):
        raise BundleRefused(f"{MANIFEST} lacks its kind, its name or its files.")
    if not title.isprintable() or not 1 <= len(title) <= LONGEST_NAME:
        raise BundleRefused(f"{MANIFEST} has a name that cannot be shown.")
    seen: set[str] = set()
    for name, facts in files.items():
        if fault := check_name(name):
            raise BundleRefused(f"{show(name)} {fault}.")
        if name.casefold() in seen:
            raise BundleRefused(f"{name} differs from another file's name in the case of letters alone.")
        seen.add(name.casefold())
        size = facts.get("bytes") if isinstance(facts, dict) else None
        if type(size) is not int or not 0 <= size <= LARGEST_FILE or set(facts) != {"bytes", "sha256"}:
            raise BundleRefused(f"{name} has no length in the manifest.")
        if not isinstance(facts["sha256"], str) or not HASH.match(facts["sha256"]):
            raise BundleRefused(f"{name} has no SHA-256 in the manifest.")
    for name in files:
        parents = name.split("/")[:-1]
        if any("/".join(parents[: end + 1]) in files for end in range(len(parents))):
            raise BundleRefused(f"{name} lies in another file.")
    return manifest


def show(name: str) -> str:
    """A name from outside as a terminal may see it."""
    plain = name.isascii() and name.isprintable() and len(name) <= LONGEST_NAME
    return name if plain else ascii(name[:LONGEST_NAME])


def write_header(name: str, size: int) -> bytes:
    """The only header under which this file may stand in a tar."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, 0
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def pad(size: int) -> int:
    """Zero bytes after a file of this length."""
    return -size % BLOCK
