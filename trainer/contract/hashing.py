"""Hashes by which files and checkpoint directories are named. Standard library only."""

import hashlib
from pathlib import Path

BLOCK = 1 << 20


def hash_file(path: Path) -> str:
    """SHA-256 of the bytes of a file, in lower-case hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def hash_listing(hashes: dict[str, str]) -> str:
    """SHA-256 over one line `<sha256>  <relative name>` per file, sorted by name: what `sha256sum` would print."""
    listing = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(hashes.items()))
    return hashlib.sha256(listing.encode()).hexdigest()


def list_files(directory: Path) -> list[str]:
    """Every file below `directory` by its relative name with forward slashes, sorted."""
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


def hash_directory(directory: Path) -> str:
    """SHA-256 of a directory: of the names and contents of every file below it, whatever its time or owner."""
    return hash_listing({name: hash_file(directory / name) for name in list_files(directory)})
