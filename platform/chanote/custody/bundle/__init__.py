"""Signed bundles: how they are written and how they are verified.

Standard library and `cryptography` only, no Django and no database: `chanote verify` is for whoever receives a bundle.
"""

from chanote.custody.bundle.form import BundleRefused, Part
from chanote.custody.bundle.keys import KeyRefused, load_private_key, load_public_key, name_key
from chanote.custody.bundle.verifying import VerifiedBundle, verify_bundle
from chanote.custody.bundle.writing import pack_bundle, write_bundle

__all__ = [
    "BundleRefused",
    "KeyRefused",
    "Part",
    "VerifiedBundle",
    "load_private_key",
    "load_public_key",
    "name_key",
    "pack_bundle",
    "verify_bundle",
    "write_bundle",
]
