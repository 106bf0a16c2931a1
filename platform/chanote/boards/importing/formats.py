"""Which format a file is, and its reader."""

import json
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from chanote.boards.importing import alpaca_eval, evalplus, ifeval, inspect, lighteval, lm_eval, mt_bench
from chanote.boards.importing.rows import NotReadable, Parsed
from chanote.boards.judging import mt_bench_pairs, pair_scores

FORMATS: Mapping[str, tuple[str, ModuleType]] = {
    "lm_eval": ("lm-evaluation-harness, samples_*.jsonl", lm_eval),
    "lighteval": ("lighteval, details_*.parquet", lighteval),
    "inspect": ("Inspect, .eval or .json", inspect),
    "evalplus": ("EvalPlus, *_eval_results.json", evalplus),
    "ifeval": ("IFEval, eval_results_*.jsonl", ifeval),
    "alpaca_eval": ("AlpacaEval, annotations.json", alpaca_eval),
    "mt_bench": ("MT-Bench, judgments as .jsonl", mt_bench),
    "mt_bench_pairs": ("MT-Bench, pairwise judgments as .jsonl", mt_bench_pairs),
    "pair_scores": ("Pairs with a judge's score of both answers, as .jsonl", pair_scores),
}
"""Name → words for people, module with `looks_like` and `read`."""


def find_format(name: str, data: bytes) -> str:
    """Raises NotReadable when the file is none of the formats."""
    if data[:2] == b"PK":
        return "inspect"
    first = None if name.endswith(".parquet") else _read_first(data)
    for key, (_, module) in FORMATS.items():
        # EvalPlus before Inspect would do as well: their files share only the key `eval`.
        if module.looks_like(name, first):
            return key
    known = "; ".join(words for words, _ in FORMATS.values())
    raise NotReadable(f"it is none of the formats that can be imported: {known}")


def read_results(name: str, data: bytes, beside: bytes | None = None) -> tuple[str, Parsed]:
    """The format and what the file holds. `beside`: the harness's own results file, where it writes two.

    Raises NotReadable with a sentence that begins with "it".
    """
    if not data.strip():
        raise NotReadable("it is empty")
    format_ = find_format(name, data)
    try:
        parsed = FORMATS[format_][1].read(name, data, beside)
    except (AttributeError, KeyError, TypeError) as error:
        raise NotReadable(f"it begins like a file of {FORMATS[format_][0]}, but has parts of another shape") from error
    if not any(result.items for result in parsed.results):
        reason = f"; the first: {parsed.skipped[0]}" if parsed.skipped else ""
        raise NotReadable(f"it holds no item that can be taken{reason}")
    return format_, parsed


def _read_first(data: bytes) -> Any:
    """The whole of a JSON file, or the first line of a JSONL file; None for neither."""
    for part in (data.lstrip().split(b"\n", 1)[0], data):
        try:
            return json.loads(part)
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
            continue
    return None
