"""Scores that a judge gave to both answers of a pair: a line with `pair` (`a_vs_b`), an item, `score_1`, `score_2` and
`judge`. The higher score wins; a pair of which a score is missing is one that the judge failed on."""

from typing import Any

from chanote.boards.importing.rows import ImportedItem, ImportedResult, Parsed, as_number, as_text, read_lines


def looks_like(name: str, first: Any) -> bool:
    return isinstance(first, dict) and {"pair", "score_1", "score_2", "judge"} <= first.keys()


def read(name: str, data: bytes, beside: bytes | None = None) -> Parsed:
    parsed = Parsed()
    held: dict[tuple[str, str, str], dict[str, ImportedItem]] = {}
    for number, row in read_lines(data, parsed):
        model, parted, opponent = as_text(row.get("pair")).partition("_vs_")
        item = as_text(next((row[key] for key in ("item", "message_id", "question_id") if row.get(key)), ""))
        if not parted or not model or not opponent or not item:
            parsed.skipped.append(f"line {number}: no pair such as a_vs_b, or no item")
            continue
        items = held.setdefault((model, opponent, as_text(row.get("judge"))), {})
        if item in items:
            parsed.skipped.append(f"line {number}: item {item} of {model} against {opponent} stands twice")
            continue
        first, second = as_number(row.get("score_1")), as_number(row.get("score_2"))
        judged = first is not None and second is not None
        items[item] = ImportedItem(
            item=item,
            score=0.5 + ((first or 0.0) > (second or 0.0)) / 2 - ((first or 0.0) < (second or 0.0)) / 2
            if judged
            else None,
            status="ok" if judged else "left_out",
            prompt=as_text(row.get("prompt")),
            output=as_text(row.get("answer_a")),
            target=as_text(row.get("answer_b")),
        )
    for (model, opponent, judge), items in held.items():
        parsed.results.append(
            ImportedResult(
                task=f"pairs-against-{opponent}",
                metric="wins",
                items=list(items.values()),
                model=model,
                settings={"harness": "pair scores", "judge": judge, "opponent": opponent},
            )
        )
    return parsed
