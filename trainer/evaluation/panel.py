"""A panel of judges over answers that lie before it: one judgement of each answer by each judge, and what they say
together.

A judge that failed on an answer leaves it out for the whole panel: the mean of the others would be another measure.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trainer.contract import TaskSpec
from trainer.contract.judging import GRADE, HIGHEST, LOWEST, WINS, WORDS, Judge, JudgedBy, JudgeSettings
from trainer.rewards.asking import Attempt, ask_all
from trainer.rewards.base import Score
from trainer.rewards.judge import ask_judge
from trainer.rewards.judge_prompt import UnreadableReply, mark_texts, read_object, shorten

LATE = "The judge had not answered when the {seconds:g} s for these answers were over."
_VERDICTS = {1.0: "win", 0.5: "tie", 0.0: "loss"}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One answer as a judge is shown it."""

    before: tuple[tuple[str, str], ...]
    """Questions and the model's answers of earlier turns."""
    question: str
    answer: str
    reference: str = ""
    opponent_before: tuple[str, ...] = ()
    """The opponent's answers to the earlier questions."""
    opponent: str = ""


@dataclass(frozen=True)
class Judged:
    """What the panel says of one answer."""

    value: float | None
    by: tuple[JudgedBy, ...]

    @property
    def spread(self) -> float | None:
        """Highest less lowest value; None of a single judge, or where one failed."""
        values = [one.value for one in self.by if one.value is not None]
        return max(values) - min(values) if len(values) == len(self.by) > 1 else None

    @property
    def fault(self) -> str:
        return next((f"{one.judge}: {one.fault}" for one in self.by if one.value is None), "")


@dataclass(frozen=True)
class _Question:
    """Hashable, so that what is equal is asked once."""

    shown: Shown
    swapped: bool


def judge_answers(
    task: TaskSpec, answers: Sequence[Shown], *, leave_if_asked: Callable[[], None] = lambda: None
) -> list[Judged]:
    """One judgement for each answer, in order; passes on what `leave_if_asked` raises."""
    settings = task.judging
    assert settings is not None
    sides = [_ask_judge(judge, task.metric, settings, answers, leave_if_asked) for judge in settings.judges]
    return [Judged(_combine([one.value for one in by], settings), by) for by in zip(*sides, strict=True)]


def _ask_judge(
    judge: Judge,
    metric: str,
    settings: JudgeSettings,
    answers: Sequence[Shown],
    leave_if_asked: Callable[[], None],
) -> list[JudgedBy]:
    orders = (False, True) if metric == WINS else (False,)
    asked = list(dict.fromkeys(_Question(one, swapped) for one in answers if _needs_judge(one) for swapped in orders))

    def ask(question: _Question, seconds: float) -> Attempt:
        return ask_judge(
            judge.endpoint,
            write_question(question.shown, metric, settings, swapped=question.swapped),
            extra=judge.extra,
            max_reply_tokens=settings.max_reply_tokens,
            seconds=seconds,
            read=read_grade if metric == GRADE else lambda reply: read_better(reply, swapped=question.swapped),
        )

    scores = ask_all(
        asked,
        ask,
        attempts=settings.attempts,
        concurrency=settings.concurrency,
        seconds=settings.seconds,
        deadline=time.monotonic() + settings.total_seconds,
        late=LATE.format(seconds=settings.total_seconds),
        leave_if_asked=leave_if_asked,
    )
    found = dict(zip(asked, scores, strict=True))
    name = judge.endpoint.model
    return [
        _judge_nothing(name, one, metric)
        if not _needs_judge(one)
        else _read_grades(name, found[_Question(one, False)])
        if metric == GRADE
        else _read_verdicts(name, found[_Question(one, False)], found[_Question(one, True)])
        for one in answers
    ]


def _needs_judge(one: Shown) -> bool:
    return bool(one.answer.strip())


def _judge_nothing(name: str, one: Shown, metric: str) -> JudgedBy:
    """Nothing written: the lowest grade, or a loss; no judge is asked what that is worth."""
    words = "The answer is empty; the judge was not asked."
    if metric == GRADE:
        return JudgedBy(judge=name, value=LOWEST / HIGHEST, words=words)
    return JudgedBy(judge=name, value=0.0, given="loss", swapped="loss", words=words)


def _read_grades(name: str, score: Score) -> JudgedBy:
    return JudgedBy(judge=name, value=score.value, words=score.words, fault=score.fault)


def _read_verdicts(name: str, given: Score, swapped: Score) -> JudgedBy:
    """Verdicts that change with the order are a tie (Zheng et al. 2023, arXiv:2306.05685)."""
    words = "\n\n".join(score.words for score in (given, swapped) if score.words)
    if given.value is None or swapped.value is None:
        return JudgedBy(judge=name, value=None, words=words, fault=given.fault or swapped.fault)
    return JudgedBy.model_validate(
        {
            "judge": name,
            "value": given.value if given.value == swapped.value else 0.5,
            "given": _VERDICTS[given.value],
            "swapped": _VERDICTS[swapped.value],
            "words": words,
        }
    )


def _combine(values: Sequence[float | None], settings: JudgeSettings) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    if settings.combine == "median":
        return statistics.median(known)
    if settings.combine == "majority":
        most = statistics.multimode(known)
        return most[0] if len(most) == 1 else 0.5
    return statistics.fmean(known)


def write_question(one: Shown, metric: str, settings: JudgeSettings, *, swapped: bool) -> list[dict[str, str]]:
    """The messages of a chat request. `swapped`: the opponent's answers stand first."""
    names = ("ANSWER",) if metric == GRADE else ("SECOND", "FIRST") if swapped else ("FIRST", "SECOND")
    parts: dict[str, str] = {}
    if settings.criteria:
        parts["CRITERIA"] = settings.criteria
    for number, (question, answer) in enumerate(one.before, start=1):
        parts[f"QUESTION {number}"] = question
        earlier = (answer,) if metric == GRADE else (answer, one.opponent_before[number - 1])
        parts |= _in_order({f"{name} {number}": text for name, text in zip(names, earlier, strict=True)})
    last = " LAST" if one.before else ""
    parts[f"QUESTION{last}"] = one.question
    if one.reference:
        parts["REFERENCE ANSWER"] = one.reference
    answers = (one.answer,) if metric == GRADE else (one.answer, one.opponent)
    parts |= _in_order({f"{name}{last}": text for name, text in zip(names, answers, strict=True)})
    shortened = {name: shorten(text, settings.longest_text) for name, text in parts.items()}
    return [
        {"role": "system", "content": WORDS[metric, settings.prompt_version]},
        {"role": "user", "content": mark_texts(shortened)},
    ]


def _in_order(answers: Mapping[str, str]) -> dict[str, str]:
    """FIRST stands before SECOND, whoever wrote it."""
    return {name: answers[name] for name in sorted(answers)}


def read_grade(reply: str) -> float:
    """A grade as tenths; raises UnreadableReply."""
    grade = read_object(reply).get("grade")
    if not isinstance(grade, int) or isinstance(grade, bool) or not LOWEST <= grade <= HIGHEST:
        raise UnreadableReply(f"The judge's reply holds no grade from {LOWEST} to {HIGHEST}.")
    return grade / HIGHEST


def read_better(reply: str, *, swapped: bool) -> float:
    """1 when the model's answer is better, 0 when the opponent's is; raises UnreadableReply."""
    better = read_object(reply).get("better")
    if better == "tie":
        return 0.5
    if better not in ("first", "second"):
        raise UnreadableReply('The judge\'s reply does not say "first", "second" or "tie".')
    return float((better == "first") != swapped)
