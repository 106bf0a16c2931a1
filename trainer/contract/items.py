"""How the items of a task are called, the same for every program. Standard library only."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

Row = Mapping[str, Any]


def identify_row(row: Row) -> str:
    """The row's own `id`, else the first 16 hex digits of the SHA-256 of its canonical JSON."""
    if row.get("id") not in (None, ""):
        return str(row["id"])
    canonical = json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def name_items(rows: Iterable[Row], *, shown: int = 0, limit: int | None = None) -> Iterator[tuple[int, str]]:
    """Place (from 0) and name of the rows that are scored: those after the `shown` solved ones, `limit` of them.

    A row that stands twice gets its place among its equals after its id (`-2`), so that names stay unique.
    """
    seen: Counter[str] = Counter()
    stop = None if limit is None else shown + limit
    for place, row in islice(enumerate(rows), shown, stop):
        name = identify_row(row)
        seen[name] += 1
        yield place, name if seen[name] == 1 else f"{name}-{seen[name]}"
