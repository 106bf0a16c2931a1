"""Step 6: each question meets a constraint; languages are told by the shares of scripts.

Questions are shuffled, and so are the constraints; both are gone through again and again until `rows` pairs are made,
so that every constraint is used about equally often and no pair twice.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from chanote.building.autoif import contradiction
from chanote.building.autoif.constraints import normalise
from chanote.building.autoif.languages import count_cjk, name_language
from chanote.building.autoif.work import AutoIf, without
from chanote.building.funnel import Dropped, Item, Kept, Outcome, Step
from chanote.datasets.making import SourcedRow, read_sourced_rows
from chanote.datasets.models import DatasetVersion

STEP = Step("6-pairs", "Pairs of question and constraint", "questions")
LONGEST = 12_000
"""Characters of a question."""
NO_QUESTION = "the row holds no question"
TOO_LONG = "the question is too long"
OTHER_LANGUAGE = "the question is neither Thai nor English"
ASKED_BEFORE = "the question was asked before"
NOT_NEEDED = "more questions than pairs were asked for"


def pair_up(autoif: AutoIf, version: DatasetVersion) -> Iterator[Outcome]:
    questions: list[dict[str, Any]] = []
    known: set[str] = set()
    for number, row in enumerate(read_sourced_rows(version), 1):
        asked = _read_question(row)
        told = {"row": number, "question": asked["question"][:2000]}
        if reason := _find_fault(asked, known):
            yield Dropped(told, reason)
            continue
        known.add(normalise(asked["question"]))
        questions.append({**asked, "row": number})
    constraints = autoif.items(contradiction.STEP)
    autoif.draw("questions").shuffle(questions)
    autoif.draw("constraints").shuffle(constraints)
    pairs = list(islice(_walk(questions, constraints), autoif.config.rows))
    # Answers to one constraint lie together, so that the sandbox judges many of them in one container.
    pairs.sort(key=lambda pair: (pair["constraint"]["id"], pair["row"]))
    for number, pair in enumerate(pairs, 1):
        yield Kept({"id": f"p{number:07}", **pair})
    for question in questions[len(pairs) :]:
        yield Dropped({"row": question["row"], "question": question["question"][:2000]}, NOT_NEEDED)


def _walk(questions: list[Item], constraints: list[Item]) -> Iterator[Item]:
    """Every pair once: the n-th round meets each question with the n-th constraint after its first."""
    if not questions or not constraints:
        return
    for turn in range(len(constraints)):
        for place, question in enumerate(questions):
            constraint = constraints[(place + turn) % len(constraints)]
            yield {**question, "constraint": {name: constraint[name] for name in ("id", "text", "language")}}


def _read_question(row: SourcedRow) -> dict[str, Any]:
    """The question of a prompt, or the first turn of a conversation if it is the user's."""
    content, source = row
    text = content.get("question")
    if text is None:
        turns = [turn for turn in content.get("messages") or [] if turn.get("role") != "system"]
        text = turns[0].get("content") if turns and turns[0].get("role") == "user" else ""
    text = (text or "").strip() if isinstance(text, str) else ""
    return {"question": text, "language": name_language(text), "source": source}


def _find_fault(asked: dict[str, Any], known: set[str]) -> str:
    if not asked["question"]:
        return NO_QUESTION
    if len(asked["question"]) > LONGEST:
        return TOO_LONG
    if not asked["language"] or count_cjk(asked["question"]):
        return OTHER_LANGUAGE
    return ASKED_BEFORE if normalise(asked["question"]) in known else ""


def find_functions(autoif: AutoIf) -> dict[str, list[dict[str, Any]]]:
    """Functions of every constraint that is left, by its id."""
    return {
        item["id"]: [without(function, "sentence", "label") for function in item["functions"]]
        for item in autoif.funnel.read_kept(contradiction.STEP)
    }
