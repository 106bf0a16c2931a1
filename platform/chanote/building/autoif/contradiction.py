"""Step 5: a constraint goes if what one of its functions checks contradicts it.

The premise is the constraint, the hypothesis the sentence of step 4. The labels are those of natural language
inference. `Labeller` is the place for another judge, such as a classifier in the house; the endpoint is what there is.
A pair that cannot be judged is no pair that passed: it drops the constraint too.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Literal, Protocol

from chanote.building.autoif import backtranslation
from chanote.building.autoif.replies import drop_thoughts
from chanote.building.autoif.work import AutoIf
from chanote.building.endpoint import Question
from chanote.building.funnel import Dropped, Item, Kept, Outcome, Step

STEP = Step("5-contradictions", "Contradiction filter", "constraints")
Label = Literal["entailment", "neutral", "contradiction"]
LABELS: tuple[Label, ...] = ("entailment", "neutral", "contradiction")
ATTEMPTS = 3
"""Samples of a judge that answers with no label."""
ASKED = """Premise: {premise}
Hypothesis: {hypothesis}

Both are instructions for the writer of an answer, perhaps in different languages. Say how the hypothesis relates to \
the premise:
entailment: whoever obeys the premise obeys the hypothesis, too
neutral: one can obey the premise with or without obeying the hypothesis
contradiction: no answer can obey both

Reply with one of these three words and nothing else."""
CONTRADICTS = "what a function checks contradicts the constraint"
UNJUDGED = "the judge gave no label"


class Labeller(Protocol):
    def label(self, pairs: Iterable[tuple[str, str]]) -> Iterator[Label | None]:
        """Of each (premise, hypothesis), in order; None where it cannot be judged."""


class EndpointLabeller:
    """Asks a chat model, at temperature 0; again with the temperature up where its reply holds no label."""

    def __init__(self, autoif: AutoIf) -> None:
        self.autoif = autoif

    def label(self, pairs: Iterable[tuple[str, str]]) -> Iterator[Label | None]:
        autoif = self.autoif
        asked = ((pair, self._write(pair, 0)) for pair in pairs)
        for pair, reply in autoif.ask_each(autoif.judge, asked):
            label = read_label(reply.text)
            for sample in range(1, ATTEMPTS):
                if label is None:
                    again = autoif.judge.ask(self._write(pair, sample), leave_if_asked=autoif.leave_if_asked)
                    label = read_label(again.text)
            yield label

    def _write(self, pair: tuple[str, str], sample: int) -> Question:
        text = ASKED.format(premise=pair[0], hypothesis=pair[1])
        return self.autoif.question(text, sample=sample, temperature=0.7 if sample else 0.0, max_tokens=512)


def read_label(text: str) -> Label | None:
    """The one label that a reply names; None where it names none or several."""
    named = set(re.findall(r"\b(entailment|neutral|contradiction)\b", drop_thoughts(text).lower()))
    return next((label for label in LABELS if named == {label}), None)


def filter_contradictions(autoif: AutoIf, labeller: Labeller | None = None) -> Iterator[Outcome]:
    items = autoif.items(backtranslation.STEP)
    pairs = [(item["text"], function["sentence"]) for item in items for function in item["functions"]]
    labels = (labeller or EndpointLabeller(autoif)).label(pairs)
    for item in items:
        given = [next(labels) for _ in item["functions"]]
        yield _judge(item, given)


def _judge(item: Item, labels: list[Label | None]) -> Outcome:
    functions = [{**function, "label": label} for function, label in zip(item["functions"], labels, strict=True)]
    for wanted, reason in (("contradiction", CONTRADICTS), (None, UNJUDGED)):
        for function in functions:
            if function["label"] == wanted:
                return Dropped({"id": item["id"], "text": item["text"]}, reason, str(function["sentence"]))
    return Kept({**item, "functions": functions})
