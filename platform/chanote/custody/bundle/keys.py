"""Ed25519 keys in files. A private key is readable by its owner alone, or it is not used."""

import hashlib
import os
import re
import stat
import uuid
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

HEX_KEY = re.compile(r"[0-9a-f]{64}\Z")
LARGEST = 16_384


class KeyRefused(Exception):
    """A file that holds no usable key; the message is a sentence."""


def make_private_key(path: Path) -> bool:
    """Write a new key that nobody but its owner can read. Of two at the same time one wins and stays; was it this?"""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            # A link fails where the name exists.
            path.hardlink_to(temporary)
        except FileExistsError:
            return False
        return True
    finally:
        temporary.unlink()


def load_private_key(path: Path) -> Ed25519PrivateKey:
    content = _read(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise KeyRefused(f"{path} can be read by others than its owner (mode {mode:o}); run: chmod 600 {path}")
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:
        raise KeyRefused(f"{path} is locked by a password; give a key without one.") from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyRefused(
            f"{path} holds no private key in PEM; make one with: openssl genpkey -algorithm ed25519"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyRefused(f"{path} holds a key of another kind; bundles are signed with Ed25519.")
    return key


def load_public_key(path: Path) -> bytes:
    """The 32 bytes of a public key: from PEM, or from 64 hexadecimal digits."""
    content = _read(path)
    text = content.decode("ascii", "replace").strip()
    if HEX_KEY.match(text.lower()):
        return bytes.fromhex(text)
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyRefused(f"{path} holds no public key; it is PEM, or 64 hexadecimal digits.") from None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyRefused(f"{path} holds a key of another kind; bundles are signed with Ed25519.")
    return key.public_bytes_raw()


def write_public_key(key: bytes) -> str:
    """The key as PEM."""
    return (
        Ed25519PublicKey.from_public_bytes(key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    )


def name_key(key: bytes) -> str:
    """A key's fingerprint, to be compared by eye: the first 128 bits of its SHA-256 in groups of four."""
    digits = hashlib.sha256(key).hexdigest()[:32]
    return " ".join(digits[start : start + 4] for start in range(0, 32, 4))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST)
    except OSError as error:
        raise KeyRefused(f"{path} cannot be read: {error.strerror}.") from error
