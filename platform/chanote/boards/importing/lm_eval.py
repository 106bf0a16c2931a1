"""lm-evaluation-harness: `samples_<task>_<date>.jsonl`, a line for each item and filter, and `results_<date>.json`.

The results file holds no items; given beside the samples it adds the model's name and the harness's own errors.
The sample file of a task with several filters has every item once a filter (issue 1687 of the harness): each filter and
metric is a result of its own.
"""

import re
from typing import Any

from chanote.boards.importing.rows import (
    ImportedItem,
    ImportedResult,
    Parsed,
    as_number,
    as_text,
    read_json,
    read_lines,
)

NAME = re.compile(r"samples_(?P<task>.+)_\d{4}-\d\d-\d\dT[\d.-]+\.jsonl\Z")


def looks_like(name: str, first: Any) -> bool:
    return isinstance(first, dict) and {"doc_id", "filter", "metrics"} <= first.keys()


def read(name: str, data: bytes, beside: bytes | None = None) -> Parsed:
    parsed = Parsed()
    found = NAME.search(name)
    task = found["task"] if found else name.removesuffix(".jsonl").removeprefix("samples_")
    items: dict[tuple[str, str], dict[str, ImportedItem]] = {}
    for number, row in read_lines(data, parsed):
        metrics = row.get("metrics")
        if "doc_id" not in row or not isinstance(metrics, list):
            parsed.skipped.append(f"line {number}: no doc_id or no metrics")
            continue
        item = as_text(row["doc_id"])
        for metric in metrics:
            score = as_number(row.get(metric))
            if score is None:
                parsed.skipped.append(f"line {number}: {metric} is no single number")
                continue
            held = items.setdefault((str(metric), as_text(row.get("filter")) or "none"), {})
            if item in held:
                parsed.skipped.append(f"line {number}: item {item} stands twice for {metric}")
                continue
            held[item] = ImportedItem(
                item=item,
                score=score,
                prompt=_prompt(row),
                output=as_text(_first(row.get("filtered_resps"))),
                target=as_text(row.get("target")),
            )
    told = read_json(beside) if beside else {}
    told = told if isinstance(told, dict) else {}
    scores = told.get("results", {}).get(task, {})
    settings = {
        "harness": "lm-evaluation-harness",
        "version": told.get("versions", {}).get(task),
        "shots": told.get("n-shot", {}).get(task),
        "task_hash": told.get("task_hashes", {}).get(task),
    }
    for (metric, filter_), held in items.items():
        parsed.results.append(
            ImportedResult(
                task=task,
                metric=metric if filter_ == "none" else f"{metric},{filter_}",
                items=list(held.values()),
                model=as_text(told.get("model_name")),
                reported_mean=as_number(scores.get(f"{metric},{filter_}")),
                reported_error=as_number(scores.get(f"{metric}_stderr,{filter_}")),
                settings={key: value for key, value in settings.items() if value is not None},
            )
        )
    return parsed


def _prompt(row: dict[str, Any]) -> str:
    arguments = row.get("arguments")
    if isinstance(arguments, dict):
        first = next(iter(arguments.values()), None)
        if isinstance(first, dict):
            return as_text(next(iter(first.values()), ""))
    return as_text(arguments or row.get("doc"))


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value
