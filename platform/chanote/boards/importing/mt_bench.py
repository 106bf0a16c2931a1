"""MT-Bench: single-answer judgments, one line for a question and turn; a score of 1 to 10, -1 where the judge failed.

Both turns of a question are one conversation, and so one cluster. Scores are told as tenths.
"""

from typing import Any

from chanote.boards.importing.rows import ImportedItem, ImportedResult, Parsed, as_number, as_text, read_lines


def looks_like(name: str, first: Any) -> bool:
    return isinstance(first, dict) and {"question_id", "judgment", "score", "turn"} <= first.keys()


def read(name: str, data: bytes, beside: bytes | None = None) -> Parsed:
    parsed = Parsed()
    held: dict[tuple[str, str, str], dict[str, ImportedItem]] = {}
    for number, row in read_lines(data, parsed):
        if "question_id" not in row or "turn" not in row:
            parsed.skipped.append(f"line {number}: no question_id or no turn")
            continue
        question, score = as_text(row["question_id"]), as_number(row.get("score"))
        named = row.get("judge")
        named = named if isinstance(named, list) and named else [named]
        judge, words = as_text(named[0]), as_text(named[-1]) if len(named) > 1 else ""
        item = f"{question}.{as_text(row['turn'])}"
        items = held.setdefault((as_text(row.get("model")), judge, words), {})
        if item in items:
            parsed.skipped.append(f"line {number}: question {question}, turn {as_text(row['turn'])} stands twice")
            continue
        inside = score is not None and 1 <= score <= 10
        items[item] = ImportedItem(
            item=item,
            cluster=question,
            score=None if score is None or not inside else score / 10,
            status="ok" if inside else "left_out",
            prompt=as_text(row.get("user_prompt")),
            output=as_text(row.get("judgment")),
        )
    for (model, judge, words), items in held.items():
        settings = {"harness": "mt-bench", "judge": judge, "judge_prompt": words or None}
        parsed.results.append(
            ImportedResult(
                task="mt-bench",
                metric="judge's score, tenths",
                items=list(items.values()),
                model=model,
                settings=settings,
            )
        )
    return parsed
