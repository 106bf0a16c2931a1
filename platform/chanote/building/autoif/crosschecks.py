"""Step 3: functions and cases are held against each other, in the sandbox.

Every function runs on every case of its constraint, as it was written and adapted to Thai, on every view of the text.
A case is kept if some function reproduces it. The accuracy of a function, in one form on one view, is

    accuracy = cases that it reproduces / cases that are kept

and its best forms are what judges answers later. Unlike the published code the thresholds hold: a constraint is dropped
unless `min_functions` functions have `min_accuracy` and `min_cases` cases are kept, with one of each output among them.
A function must reproduce a case of each output too: one that always says yes proves nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from chanote.building.autoif import functions
from chanote.building.autoif.views import VIEWS, View, adapt, see
from chanote.building.autoif.work import AutoIf, without
from chanote.building.funnel import Dropped, Item, Kept, Outcome, Step
from toolsandbox.contract import VerifierVerdict, WrittenFunction

STEP = Step("3-crosschecks", "Cross-validation in the sandbox", "constraints")
MOST_EXAMPLES = 4
"""Known good and known bad answers, each, that go with a function to the sandbox later."""
FAILED = "the function failed in the sandbox"
INACCURATE = "the function reproduces too few cases"
ONE_SIDED = "the function never tells yes from no"
FEW_CASES = "too few cases that some function reproduces"
FEW_FUNCTIONS = "too few functions that are accurate enough"
NO_CONTRAST = "its cases are all true or all false"


@dataclass
class Form:
    """One function in one form on one view."""

    function: int
    source: str
    view: View
    right: list[int] = field(default_factory=list)
    """Places of the cases that it reproduces."""
    trouble: str = ""


def cross_check(autoif: AutoIf) -> Iterator[Outcome]:
    for item in autoif.funnel.read_kept(functions.STEP):
        forms = _list_forms(item)
        _try_forms(autoif, item, forms)
        yield from _judge(autoif, item, forms)


def _list_forms(item: Item) -> list[Form]:
    forms = []
    for number, source in enumerate(item["functions"]):
        forms += [Form(number, written, view) for written in dict.fromkeys((source, adapt(source))) for view in VIEWS]
    return forms


def _try_forms(autoif: AutoIf, item: Item, forms: list[Form]) -> None:
    """Fill in what each form gets right. The same source on the same text is run once."""
    names = {source: f"f{number}" for number, source in enumerate(dict.fromkeys(form.source for form in forms))}
    calls: dict[tuple[str, str], VerifierVerdict | None] = {}
    for form in forms:
        for case in item["cases"]:
            calls[names[form.source], see(case["input"], form.view)] = None
    written = [WrittenFunction(name=name, source=source) for source, name in names.items()]
    verdicts = autoif.sandbox.try_functions(written, [(name, [text]) for name, text in calls])
    found = dict(zip(calls, verdicts, strict=True))
    for form in forms:
        for place, case in enumerate(item["cases"]):
            verdict = found[names[form.source], see(case["input"], form.view)]
            if verdict.passed == case["output"]:
                form.right.append(place)
            elif verdict.passed is None and not form.trouble:
                form.trouble = f"{verdict.status}: {verdict.detail}"[:300]


def _judge(autoif: AutoIf, item: Item, forms: list[Form]) -> Iterator[Outcome]:
    config = autoif.config
    places = sorted({place for form in forms for place in form.right})
    outputs = [item["cases"][place]["output"] for place in places]
    told = {"id": item["id"], "text": item["text"], "language": item["language"]}
    kept: list[dict[str, Any]] = []
    for number in range(len(item["functions"])):
        own = [form for form in forms if form.function == number]
        chosen, reason, detail = _choose(own, item, places, config.min_accuracy)
        if chosen is None:
            yield Dropped({**told, "function": item["functions"][number]}, reason, detail, part=True)
        else:
            kept.append(chosen)
    facts = f"{len(kept)} functions, {len(places)} cases"
    if len(places) < config.min_cases:
        yield Dropped(told, FEW_CASES, facts)
    elif len(set(outputs)) < 2:
        yield Dropped(told, NO_CONTRAST, facts)
    elif len(kept) < config.min_functions:
        yield Dropped(told, FEW_FUNCTIONS, facts)
    else:
        yield Kept({**without(item, "functions", "cases"), "functions": kept, "cases": len(places)})


def _choose(
    forms: list[Form], item: Item, places: list[int], min_accuracy: float
) -> tuple[dict[str, Any] | None, str, str]:
    """The function in its most accurate form, on every view on which that form is as accurate; or why not at all."""
    best = max(len(form.right) for form in forms)
    trouble = next((form.trouble for form in forms if form.trouble), "")
    accuracy = best / len(places) if places else 0.0
    if accuracy < min_accuracy:
        return None, FAILED if trouble and not best else INACCURATE, trouble or f"accuracy {accuracy:.2f}"
    first = next(form for form in forms if len(form.right) == best)
    equal = [form for form in forms if form.source == first.source and len(form.right) == best]
    views = []
    for form in equal:
        right = [item["cases"][place] for place in form.right]
        good, bad = (
            [see(case["input"], form.view) for case in right if case["output"] is output][:MOST_EXAMPLES]
            for output in (True, False)
        )
        if good and bad:
            views.append({"view": form.view, "good": good, "bad": bad})
    if not views:
        return None, ONE_SIDED, f"accuracy {accuracy:.2f}"
    adapted = first.source != item["functions"][first.function]
    chosen = {"source": first.source, "adapted": adapted, "accuracy": round(accuracy, 4), "views": views}
    return chosen, "", ""
