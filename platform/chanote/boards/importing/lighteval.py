"""lighteval: `details_<task>_<date>.parquet`, with the metrics of each item, and `results_<date>.json` beside it.

Columns are `__doc__`, `__model_response__`, `__metric__` by the documentation and without the underscores in the code.
"""

import io
import re
from typing import Any

import pyarrow
import pyarrow.parquet

from chanote.boards.importing.rows import (
    ImportedItem,
    ImportedResult,
    NotReadable,
    Parsed,
    as_number,
    as_text,
    read_json,
)

NAME = re.compile(r"details_(?P<task>.+?)_\d{4}-\d\d-\d\dT[\d.:-]+\.parquet\Z")


def looks_like(name: str, first: Any) -> bool:
    return name.endswith(".parquet")


def read(name: str, data: bytes, beside: bytes | None = None) -> Parsed:
    try:
        rows = pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise NotReadable(f"it is no parquet file: {error}") from error
    parsed = Parsed()
    found = NAME.search(name)
    task = found["task"] if found else name.removesuffix(".parquet").removeprefix("details_")
    items: dict[str, list[ImportedItem]] = {}
    for number, row in enumerate(rows, start=1):
        doc, answer, metrics = (_part(row, part) for part in ("doc", "model_response", "metric"))
        if not metrics:
            parsed.skipped.append(f"row {number}: no metrics")
            continue
        for metric, value in metrics.items():
            score = as_number(value)
            if score is None:
                parsed.skipped.append(f"row {number}: {metric} is no single number")
                continue
            text = answer.get("text")
            items.setdefault(metric, []).append(
                ImportedItem(
                    item=as_text(doc.get("id")) or str(number - 1),
                    score=score,
                    prompt=as_text(doc.get("query")),
                    output=as_text(text[0] if isinstance(text, list) and text else text),
                    target=as_text(_target(doc)),
                )
            )
    told = read_json(beside) if beside else {}
    told = told if isinstance(told, dict) else {}
    scores = told.get("results", {}).get(task, {})
    for metric, held in items.items():
        parsed.results.append(
            ImportedResult(
                task=task,
                metric=metric,
                items=held,
                model=as_text((told.get("config_general") or {}).get("model_name")),
                reported_mean=as_number(scores.get(metric)),
                reported_error=as_number(scores.get(f"{metric}_stderr")),
                settings={"harness": "lighteval", "version": (told.get("versions") or {}).get(task)},
            )
        )
    return parsed


def _part(row: dict[str, Any], name: str) -> dict[str, Any]:
    found = row.get(f"__{name}__", row.get(name))
    return {key: value for key, value in found.items() if value is not None} if isinstance(found, dict) else {}


def _target(doc: dict[str, Any]) -> Any:
    choices, gold = doc.get("choices"), doc.get("gold_index")
    gold = gold[0] if isinstance(gold, list) and gold else gold
    return choices[gold] if isinstance(choices, list) and isinstance(gold, int) and 0 <= gold < len(choices) else ""
