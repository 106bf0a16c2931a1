"""Step 2: for each constraint several Python functions that check it, each with cases, written by the endpoint.

Nothing that it writes is run here, nor even parsed as Python: a hostile text must not reach the interpreter of the
platform. What a function is worth is for step 3 and the sandbox to find out.
"""

from collections.abc import Iterator
from typing import Any

from chanote.building.autoif import constraints
from chanote.building.autoif.constraints import NO_REPLY
from chanote.building.autoif.replies import find_object
from chanote.building.autoif.work import AutoIf
from chanote.building.endpoint import Question, Reply
from chanote.building.funnel import Dropped, Item, Kept, Outcome, Step

STEP = Step("2-functions", "Verification functions and cases", "constraints")
TEMPERATURE = 0.6
LONGEST_SOURCE, LONGEST_INPUT = 20_000, 4_000
"""Characters."""
ASKED = """You write programs that check whether an answer obeys a constraint.

Constraint: {constraint}

Reply with one JSON object and nothing else:
{{"func": "<Python source>", "cases": [{{"input": "<an answer>", "output": true}}, …]}}

"func" defines `def evaluate(response: str) -> bool`. It uses the standard library alone, imports what it needs inside \
the function, reads no file, asks no network, prints nothing, and returns exactly True or False. Answers are mostly in \
Thai, which puts no space between words and no full stop after sentences.
"cases" holds {cases} answers, with true for those that obey the constraint and false for those that do not. At least \
one is true and at least one is false; at least half are in Thai. This is attempt {attempt}: choose other cases than \
the obvious ones."""
CUT_OFF = "the reply was cut off"
NO_JSON = "the reply holds no JSON object"
NO_FUNCTION = "the reply defines no function evaluate"
TOO_LONG = "the function is too long"
NO_CASES = "the reply has no usable case"
NOTHING = "no reply had both a function and cases"


def write_functions(autoif: AutoIf) -> Iterator[Outcome]:
    each = autoif.config.functions_each
    collected: Item = {}
    for (item, attempt), reply in autoif.ask_each(autoif.teacher, _list_questions(autoif)):
        if attempt == 0:
            collected = {**item, "functions": [], "cases": []}
        found = _read(reply)
        if isinstance(found, str):
            told = {"constraint": item["text"], "id": item["id"], "attempt": attempt, "reply": reply.text[:2000]}
            yield Dropped(told, found, reply.fault, part=True)
        else:
            source, cases = found
            if source not in collected["functions"]:
                collected["functions"].append(source)
            inputs = {case["input"] for case in collected["cases"]}
            collected["cases"] += [case for case in cases if case["input"] not in inputs]
        if attempt == each - 1:
            yield Kept(collected) if collected["functions"] else Dropped(item, NOTHING)


def _list_questions(autoif: AutoIf) -> Iterator[tuple[tuple[Item, int], Question]]:
    for item in autoif.funnel.read_kept(constraints.STEP):
        for attempt in range(autoif.config.functions_each):
            text = ASKED.format(constraint=item["text"], cases=autoif.config.cases_each, attempt=attempt + 1)
            yield (item, attempt), autoif.question(text, sample=attempt, temperature=TEMPERATURE, max_tokens=4096)


def _read(reply: Reply) -> tuple[str, list[dict[str, Any]]] | str:
    """Source and cases, or why there are none."""
    if reply.fault:
        return NO_REPLY
    found = find_object(reply.text)
    if found is None:
        return CUT_OFF if reply.cut else NO_JSON
    source = found.get("func")
    if not isinstance(source, str) or "def evaluate(" not in source:
        return NO_FUNCTION
    if len(source) > LONGEST_SOURCE:
        return TOO_LONG
    given = found.get("cases")
    cases: dict[str, bool] = {}
    for case in given if isinstance(given, list) else []:
        if not isinstance(case, dict) or not isinstance(case.get("input"), str):
            continue
        output = {"true": True, "false": False}.get(str(case.get("output")).strip().lower())
        if output is not None and len(case["input"]) <= LONGEST_INPUT:
            cases.setdefault(case["input"], output)
    # A NUL cannot be stored in a dataset, and no tool reads half of a pair.
    kept = [{"input": text, "output": output} for text, output in cases.items() if "\0" not in text]
    return (source, kept) if kept else NO_CASES
