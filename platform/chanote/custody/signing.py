"""The installation's own key: made when it is first needed, below the home, readable by its owner alone."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from chanote.audit.services import record
from chanote.custody.bundle.keys import KeyRefused, load_private_key, make_private_key, name_key


def own_key_path() -> Path:
    return Path(settings.HOME) / "custody" / "signing-key.pem"


def open_own_key() -> Ed25519PrivateKey:
    """Raises KeyRefused where the file was damaged or others can read it."""
    path = own_key_path()
    if not path.exists() and make_private_key(path):
        key = load_private_key(path)
        record("key.made", None, fingerprint=name_key(key.public_key().public_bytes_raw()))
        return key
    return load_private_key(path)


def find_own_public_key() -> bytes | None:
    """None before the first export, and where the key cannot be used."""
    try:
        return load_private_key(own_key_path()).public_key().public_bytes_raw()
    except KeyRefused:
        return None
