"""How many rows two versions have in common."""

import hashlib
from collections import Counter
from typing import Any

from chanote.datasets.models import DatasetVersion
from chanote.datasets.storage import StoreError, open_lines

MOST_ROWS = 200_000
"""Versions with more rows are not compared at import: it would take seconds and memory."""


def count_differences(old: DatasetVersion, new: DatasetVersion) -> dict[str, Any]:
    """Rows added, removed and kept; empty where the versions are too large or the old rows cannot be read.

    A changed row counts as one removed and one added. The order of rows does not count.
    """
    if max(old.rows, new.rows) > MOST_ROWS:
        return {}
    try:
        before, after = (_count_rows(version) for version in (old, new))
    except StoreError:
        return {}
    return {
        "added": (after - before).total(),
        "removed": (before - after).total(),
        "kept": (before & after).total(),
    }


def _count_rows(version: DatasetVersion) -> Counter[bytes]:
    return Counter(hashlib.blake2b(line, digest_size=10).digest() for line in open_lines(version))
