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
                output=_output(row, str(metric)),
                target=_target(row),
            )
    told = read_json(beside) if beside else {}
    told = told if isinstance(told, dict) else {}
    scores = told.get("results", {}).get(task, {})
    settings = {
        "harness": "lm-evaluation-harness",
        "version": told.get("versions", {}).get(task),
        "shots": told.get("n-shot", {}).get(task),
        "task_hash": told.get("task_hashes", {}).get(task),
        "chat_template": told.get("chat_template_sha"),
        "system_instruction": told.get("system_instruction_sha"),
        "fewshot_as_multiturn": told.get("fewshot_as_multiturn"),
    }
    asked = (told.get("configs") or {}).get(task) or {}
    given = told.get("config") or {}
    decoding = {
        "generation": {**(asked.get("generation_kwargs") or {}), **(given.get("gen_kwargs") or {})} or None,
        "repeats": asked.get("repeats"),
        "limit": given.get("limit"),
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
                decoding={key: value for key, value in decoding.items() if value is not None},
                program=as_text(told.get("lm_eval_version")),
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


def _options(row: dict[str, Any]) -> list[tuple[str, float]]:
    """Options with their log-likelihoods; none where an answer was written. The harness writes numbers as text."""
    arguments, found = row.get("arguments"), row.get("filtered_resps")
    if not isinstance(arguments, dict) or not isinstance(found, list) or len(found) != len(arguments) or len(found) < 2:
        return []
    options = []
    for asked, told in zip(arguments.values(), found, strict=True):
        text = asked.get("arg_1") if isinstance(asked, dict) else None
        if not isinstance(text, str) or not isinstance(told, list) or len(told) != 2:
            return []
        try:
            options.append((text, float(told[0])))
        except (TypeError, ValueError):
            return []
    return options


def _output(row: dict[str, Any], metric: str) -> str:
    """The option that was chosen, else what was written."""
    if not (options := _options(row)):
        return as_text(_first(row.get("filtered_resps")))
    # The harness divides by characters of the option alone, without the space before it.
    lengths = [len(text.lstrip()) or 1 if metric == "acc_norm" else 1 for text, _ in options]
    return max(zip(options, lengths, strict=True), key=lambda one: one[0][1] / one[1])[0][0].strip()


def _target(row: dict[str, Any]) -> str:
    told, options = as_text(row.get("target")), _options(row)
    return options[int(told)][0].strip() if told.isdecimal() and int(told) < len(options) else told


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value
