"""The installation's own key: made when it is first needed, below the home, readable by its owner alone."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from chanote.custody.bundle.keys import load_private_key, make_private_key


def own_key_path() -> Path:
    return Path(settings.HOME) / "custody" / "signing-key.pem"


def open_own_key() -> Ed25519PrivateKey:
    """Raises KeyRefused where the file was damaged or others can read it."""
    path = own_key_path()
    if not path.exists():
        make_private_key(path)
    return load_private_key(path)


def read_own_public_key() -> bytes:
    return open_own_key().public_key().public_bytes_raw()
