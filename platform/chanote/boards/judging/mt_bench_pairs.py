"""MT-Bench, pairwise: a line for a question, turn and pair, with the winner in both orders. Verdicts that change with
the order are a tie; a pair on which the judge failed is left out."""

from typing import Any

from chanote.boards.importing.rows import ImportedItem, ImportedResult, Parsed, as_text, read_lines

_VERDICTS = {"model_1": "win", "model_2": "loss", "tie": "tie"}
_VALUES = {"win": 1.0, "loss": 0.0, "tie": 0.5}


def looks_like(name: str, first: Any) -> bool:
    return isinstance(first, dict) and {"question_id", "model_1", "model_2", "g1_winner", "g2_winner"} <= first.keys()


def read(name: str, data: bytes, beside: bytes | None = None) -> Parsed:
    parsed = Parsed()
    held: dict[tuple[str, str, str, str], dict[str, ImportedItem]] = {}
    for number, row in read_lines(data, parsed):
        if not {"question_id", "model_1", "model_2"} <= row.keys():
            parsed.skipped.append(f"line {number}: no question_id, or no two models")
            continue
        question, judge = as_text(row["question_id"]), row.get("judge")
        named = judge if isinstance(judge, list) else [judge]
        item = f"{question}.{as_text(row.get('turn', 1))}"
        key = (as_text(row["model_1"]), as_text(row["model_2"]), as_text(named[0]), as_text(named[-1]))
        items = held.setdefault(key, {})
        if item in items:
            parsed.skipped.append(f"line {number}: question {item} of this pair stands twice")
            continue
        given, swapped = (_VERDICTS.get(as_text(row.get(name)), "") for name in ("g1_winner", "g2_winner"))
        judged = bool(given and swapped)
        items[item] = ImportedItem(
            item=item,
            cluster=question,
            score=None if not judged else _VALUES[given] if given == swapped else 0.5,
            status="ok" if judged else "left_out",
            output=as_text(row.get("g1_judgment")),
            detail={
                "judges": [
                    {
                        "judge": key[2],
                        "value": None if not judged else _VALUES[given] if given == swapped else 0.5,
                        "given": given,
                        "swapped": swapped,
                        "words": as_text(row.get("g1_judgment")),
                        "fault": "" if judged else "The judge named no winner.",
                    }
                ]
            },
        )
    for (model, opponent, judge, prompt), items in held.items():
        parsed.results.append(
            ImportedResult(
                task=f"mt-bench-pairs-against-{opponent}",
                metric="wins",
                items=list(items.values()),
                model=model,
                settings={"harness": "mt-bench", "judge": judge, "judge_prompt": prompt, "opponent": opponent},
            )
        )
    return parsed
