"""IFEval: `eval_results_strict.jsonl` or `_loose`. No key column: the prompt itself names the item."""

import hashlib
from typing import Any

from chanote.boards.importing.rows import ImportedItem, ImportedResult, Parsed, as_text, read_lines


def looks_like(name: str, first: Any) -> bool:
    return isinstance(first, dict) and "follow_all_instructions" in first


def read(name: str, data: bytes, beside: bytes | None = None) -> Parsed:
    """Prompt-level accuracy, and instruction-level accuracy with the prompt as cluster."""
    parsed = Parsed()
    prompts: dict[str, ImportedItem] = {}
    instructions: list[ImportedItem] = []
    for number, row in read_lines(data, parsed):
        followed, prompt = row.get("follow_all_instructions"), row.get("prompt")
        if not isinstance(followed, bool) or not isinstance(prompt, str):
            parsed.skipped.append(f"line {number}: no prompt or no follow_all_instructions")
            continue
        item = hashlib.sha256(prompt.encode()).hexdigest()[:16]
        if item in prompts:
            parsed.skipped.append(f"line {number}: the prompt stands twice")
            continue
        output = as_text(row.get("response"))
        prompts[item] = ImportedItem(item=item, score=float(followed), prompt=prompt, output=output)
        names = row.get("instruction_id_list") or []
        for place, one in enumerate(row.get("follow_instruction_list") or []):
            target = as_text(names[place]) if place < len(names) else ""
            instructions.append(
                ImportedItem(
                    item=f"{item}.{place}",
                    score=float(bool(one)),
                    prompt=prompt,
                    output=output,
                    target=target,
                    cluster=item,
                )
            )
    kind = "loose" if "loose" in name else "strict"
    for metric, items in ((f"prompt {kind}", list(prompts.values())), (f"instruction {kind}", instructions)):
        if items:
            parsed.results.append(
                ImportedResult(task="ifeval", metric=metric, items=items, settings={"harness": "ifeval", "kind": kind})
            )
    return parsed
