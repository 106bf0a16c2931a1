"""AlpacaEval: `annotations.json`. A preference of 2 is for `output_2`, the model; of 1 for the reference."""

import hashlib
from typing import Any

from chanote.boards.importing.rows import (
    ImportedItem,
    ImportedResult,
    NotReadable,
    Parsed,
    as_number,
    as_text,
    read_json,
)


def looks_like(name: str, first: Any) -> bool:
    return (
        isinstance(first, list)
        and bool(first)
        and isinstance(first[0], dict)
        and {"preference", "generator_1", "generator_2"} <= first[0].keys()
    )


def read(name: str, data: bytes, beside: bytes | None = None) -> Parsed:
    rows = read_json(data)
    if not isinstance(rows, list):
        raise NotReadable("it is no list of annotations")
    parsed = Parsed()
    held: dict[tuple[str, str, str], dict[str, ImportedItem]] = {}
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not isinstance(row.get("instruction"), str):
            parsed.skipped.append(f"annotation {number}: no instruction")
            continue
        preference = as_number(row.get("preference"))
        inside = preference is not None and 1 <= preference <= 2
        item = hashlib.sha256(row["instruction"].encode()).hexdigest()[:16]
        key = (as_text(row.get("generator_2")), as_text(row.get("generator_1")), as_text(row.get("annotator")))
        if item in held.setdefault(key, {}):
            parsed.skipped.append(f"annotation {number}: the instruction stands twice")
            continue
        # A judge that gave no preference failed through no fault of the model.
        held[key][item] = ImportedItem(
            item=item,
            score=None if preference is None or not inside else preference - 1,
            status="ok" if inside else "left_out",
            prompt=row["instruction"],
            output=as_text(row.get("output_2")),
            target=as_text(row.get("output_1")),
        )
    for (model, reference, annotator), items in held.items():
        parsed.results.append(
            ImportedResult(
                task="alpaca-eval",
                metric=f"win rate against {reference}",
                items=list(items.values()),
                model=model,
                settings={"harness": "alpaca_eval", "judge": annotator, "reference": reference},
            )
        )
    return parsed
