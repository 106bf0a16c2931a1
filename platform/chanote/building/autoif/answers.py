"""Step 7: answers, each judged by the functions of its constraint in the sandbox.

An answer is shown to a function on the views on which the function proved itself, and passes it if it passes on one of
them. It is kept if at least `min_passed` of the functions pass it, it holds no Chinese, Japanese or Korean letter, and
it is in the language of the question, or in Thai where that was asked for.
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from chanote.building.autoif import pairing
from chanote.building.autoif.constraints import NO_REPLY
from chanote.building.autoif.languages import count_cjk, name_language
from chanote.building.autoif.pairing import find_functions
from chanote.building.autoif.replies import drop_thoughts
from chanote.building.autoif.views import see
from chanote.building.autoif.wordings import ANSWER_IN_THAI, USER, fill
from chanote.building.autoif.work import AutoIf
from chanote.building.endpoint import Question, Reply
from chanote.building.funnel import Dropped, Item, Kept, Outcome, Step
from toolsandbox.contract import Verifier, VerifierVerdict

STEP = Step("7-answers", "Answers, verified on views of the text", "answers")
TEMPERATURE = 0.7
AT_ONCE = 64
"""Answers to one constraint that are judged together."""
CUT_OFF = "the answer was cut off"
EMPTY = "the answer is empty"
HOLDS_CJK = "the answer holds Chinese, Japanese or Korean letters"
WRONG_LANGUAGE = "the answer is not in the language that it must be in"
SAME = "the same answer came before"
FAILS = "too few functions pass the answer"
UNPROVEN = "no function could be used: none told good from bad again"


def answer(autoif: AutoIf) -> Iterator[Outcome]:
    functions = find_functions(autoif)
    replies = autoif.ask_each(autoif.teacher, _list_questions(autoif))
    known: set[bytes] = set()
    for constraint, group in groupby(replies, key=lambda one: str(one[0][0]["constraint"]["id"])):
        for block in _cut(group):
            yield from _judge(autoif, functions[constraint], block, known)


def _list_questions(autoif: AutoIf) -> Iterator[tuple[tuple[Item, int], Question]]:
    config = autoif.config
    for pair in autoif.funnel.read_kept(pairing.STEP):
        constraint = pair["constraint"]
        text = fill(USER[constraint["language"]][0], question=pair["question"], constraint=constraint["text"])
        if config.answer_language == "th" and pair["language"] != "th":
            text = f"{text}\n{ANSWER_IN_THAI[constraint['language']]}"
        for sample in range(config.answers_each):
            asked = autoif.question(text, sample=sample, temperature=TEMPERATURE, max_tokens=config.max_answer_tokens)
            yield (pair, sample), asked


Answered = tuple[tuple[Item, int], Reply]


def _cut(group: Iterable[Answered]) -> Iterator[list[Answered]]:
    block: list[Answered] = []
    for one in group:
        block.append(one)
        if len(block) == AT_ONCE:
            yield block
            block = []
    if block:
        yield block


def _judge(
    autoif: AutoIf, functions: list[dict[str, Any]], block: list[Answered], known: set[bytes]
) -> Iterator[Outcome]:
    ready: list[Item] = []
    outcomes: list[Outcome | None] = []
    """In the order of the answers; None for those that the sandbox must judge."""
    for (pair, sample), reply in block:
        item = {**pair, "sample": sample, "answer": drop_thoughts(reply.text)}
        if reason := _find_fault(autoif, item, reply, known):
            outcomes.append(Dropped(item, reason, reply.fault))
        else:
            known.add(_digest(item))
            outcomes.append(None)
            ready.append(item)
    judged = iter(_verify(autoif, functions, ready))
    for outcome in outcomes:
        yield outcome or next(judged)


def _find_fault(autoif: AutoIf, item: Item, reply: Reply, known: set[bytes]) -> str:
    text = item["answer"]
    if reply.fault:
        return NO_REPLY
    if reply.cut:
        return CUT_OFF
    if not text or "\0" in text:
        return EMPTY
    if count_cjk(text):
        return HOLDS_CJK
    wanted = "th" if autoif.config.answer_language == "th" else item["language"]
    # A text without letters, such as a sum, is in no language that it could fail.
    if name_language(text) not in (wanted, "") or (not name_language(text) and any(map(str.isalpha, text))):
        return WRONG_LANGUAGE
    return SAME if _digest(item) in known else ""


def _digest(item: Item) -> bytes:
    return hashlib.blake2b(f"{item['id']}\0{item['answer']}".encode(), digest_size=16).digest()


def _verify(autoif: AutoIf, functions: list[dict[str, Any]], items: list[Item]) -> list[Outcome]:
    verifiers = [
        Verifier(
            name=f"{place} {shown['view']}",
            source=function["source"],
            good=[[text] for text in shown["good"]],
            bad=[[text] for text in shown["bad"]],
        )
        for place, function in enumerate(functions)
        for shown in function["views"]
    ]
    # On views that show the same text a function would answer the same.
    calls: dict[tuple[str, str], VerifierVerdict | None] = {}
    for item in items:
        for verifier in verifiers:
            calls[verifier.name, _show(item, verifier.name)] = None
    verdicts = autoif.sandbox.verify(verifiers, [(name, [text]) for name, text in calls]) if calls else []
    found = dict(zip(calls, verdicts, strict=True))
    outcomes: list[Outcome] = []
    for item in items:
        given: dict[int, list[VerifierVerdict]] = {}
        for verifier in verifiers:
            place = int(verifier.name.split()[0])
            given.setdefault(place, []).append(found[verifier.name, _show(item, verifier.name)])
        outcomes.append(_weigh(autoif, item, given))
    return outcomes


def _show(item: Item, name: str) -> str:
    """The answer on the view that a verifier's name ends with."""
    return see(item["answer"], name.split()[1])


def _weigh(autoif: AutoIf, item: Item, given: dict[int, list[VerifierVerdict]]) -> Outcome:
    usable = [verdicts for verdicts in given.values() if any(one.status != "rejected" for one in verdicts)]
    if not usable:
        return Dropped(item, UNPROVEN, next(one.detail for verdicts in given.values() for one in verdicts)[:300])
    passed = sum(any(one.passed is True for one in verdicts) for verdicts in usable)
    share = passed / len(usable)
    if share < autoif.config.min_passed:
        return Dropped(item, FAILS, f"{passed} of {len(usable)} functions")
    return Kept({**item, "functions_passed": passed, "functions": len(usable)})
