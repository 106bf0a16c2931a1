"""EvalPlus: `<samples>_eval_results.json`. A task's samples are averaged; plus asks that base and plus both passed."""

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
    if not isinstance(first, dict) or not isinstance(first.get("eval"), dict):
        return False
    sample = next(iter(first["eval"].values()), None)
    return isinstance(sample, list) and bool(sample) and isinstance(sample[0], dict) and "base_status" in sample[0]


def read(name: str, data: bytes, beside: bytes | None = None) -> Parsed:
    told = read_json(data)
    if not looks_like(name, told):
        raise NotReadable("it is no result file of EvalPlus")
    parsed = Parsed()
    base, plus = [], []
    for item, samples in told["eval"].items():
        known = [one for one in samples if isinstance(one, dict) and "base_status" in one]
        if not known:
            parsed.skipped.append(f"{item}: no sample with a status")
            continue
        right = [one["base_status"] == "pass" for one in known]
        both = [one["base_status"] == one.get("plus_status") == "pass" for one in known]
        solution = as_text(known[-1].get("solution"))
        base.append(ImportedItem(item=item, score=sum(right) / len(known), output=solution))
        if any(one.get("plus_status") for one in known):
            plus.append(ImportedItem(item=item, score=sum(both) / len(known), output=solution))
    task = "humaneval" if all(item.startswith("HumanEval") for item in told["eval"]) else "mbpp"
    passed = told.get("pass_at_k") or {}
    for metric, items in (("base", base), ("plus", plus)):
        if items:
            mean = as_number((passed.get(metric) or {}).get("pass@1"))
            settings = {"harness": "evalplus", "tests": told.get("hash")}
            parsed.results.append(
                ImportedResult(task=task, metric=f"pass@1 {metric}", items=items, reported_mean=mean, settings=settings)
            )
    return parsed
