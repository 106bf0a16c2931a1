"""Finding a withdrawn row in versions by what it says, since the same row may stand in many under many numbers."""

import hashlib
from functools import lru_cache

from chanote.datasets.models import DatasetVersion
from chanote.datasets.storage import StoreError, open_lines
from chanote.rights.models import WithdrawnRow

Mark = tuple[int, str]
"""Length of a canonical line in bytes without its line feed, and its SHA-256."""


def mark_row(version: DatasetVersion, number: int) -> Mark:
    """Mark of a row by its number, from 1. Raises StoreError where rows are gone, IndexError where it has none such."""
    for line in open_lines(version, number - 1, number):
        return mark_line(line)
    raise IndexError(number)


def mark_line(line: bytes) -> Mark:
    text = line.rstrip(b"\n")
    return len(text), hashlib.sha256(text).hexdigest()


def find_withdrawn_rows(version: DatasetVersion) -> list[tuple[int, WithdrawnRow]]:
    """Rows of the version that were withdrawn anywhere in its project, with their numbers from 1."""
    project = version.dataset.project
    withdrawn = {(row.length, row.sha256): row for row in WithdrawnRow.objects.filter(project=project)}
    if not withdrawn:
        return []
    return [(number, withdrawn[mark]) for number, mark in find_marks(version, frozenset(withdrawn))]


def find_marks(version: DatasetVersion, marks: frozenset[Mark]) -> tuple[tuple[int, Mark], ...]:
    """Where rows with these marks stand. None where the rows are gone from the store: nobody can use those either."""
    try:
        return _find_marks(_Rows(version), marks)
    except (OSError, StoreError):
        return ()


class _Rows:
    """A version that is its rows: versions never change, so neither does what is found in them."""

    def __init__(self, version: DatasetVersion) -> None:
        self.version = version

    def __hash__(self) -> int:
        return hash(self.version.sha256)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Rows) and other.version.sha256 == self.version.sha256


@lru_cache(maxsize=512)
def _find_marks(rows: _Rows, marks: frozenset[Mark]) -> tuple[tuple[int, Mark], ...]:
    lengths = {length for length, _ in marks}
    found = []
    for number, line in enumerate(open_lines(rows.version), start=1):
        # The line has its line feed yet. Only what may be one of them is hashed.
        if len(line) - 1 in lengths and (mark := mark_line(line)) in marks:
            found.append((number, mark))
    return tuple(found)
