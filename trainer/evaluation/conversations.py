"""The questions of a judged item, turn by turn, and the samples that come of answers to them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample
from trainer.evaluation.errors import TaskError
from trainer.evaluation.panel import Judged, Shown, judge_answers
from trainer.evaluation.tasks import Item


@dataclass(frozen=True)
class Turn:
    question: str
    reference: str
    opponent: str


@dataclass(frozen=True)
class Written:
    """What the model wrote in one turn."""

    text: str
    tokens: int = 0
    cut: bool = False
    reason: str = ""
    """Why there is no answer at all; empty when there is one."""


def read_turns(task: TaskSpec, item: Item) -> list[Turn]:
    """Raises TaskError naming the field that does not fit."""
    settings = task.judging
    assert settings is not None
    questions = [item.question]
    if settings.turns:
        found = item.row.get(settings.turns)
        if not isinstance(found, list) or not found or not all(isinstance(one, str) and one.strip() for one in found):
            raise TaskError(
                f"{task.task}, item {item.id}: field {settings.turns} (judging.turns) is no list of questions; the row "
                f"has {', '.join(item.row)}"
            )
        questions = found
    references = _read_each(task, item, settings.reference, len(questions), needed=False)
    opponents = _read_each(task, item, settings.opponent_answer, len(questions), needed=True)
    return [Turn(*turn) for turn in zip(questions, references, opponents, strict=True)]


def _read_each(task: TaskSpec, item: Item, field: str, turns: int, *, needed: bool) -> list[str]:
    """A text for each turn. One text is that of the first turn."""
    found: Any = item.row.get(field) if field else None
    texts = found if isinstance(found, list) else [] if found is None else [found]
    texts = ["" if text is None else text for text in texts]
    if len(texts) > turns or not all(isinstance(text, str) for text in texts):
        raise TaskError(f"{task.task}, item {item.id}: field {field} is no text, and no list of a text for each turn")
    if field and needed and (len(texts) < turns or not all(text.strip() for text in texts)):
        raise TaskError(f"{task.task}, item {item.id}: field {field} lacks an answer to {turns} turn(s)")
    return [*texts, *[""] * (turns - len(texts))]


def name_turn(item: Item, number: int, turns: int) -> str:
    """As MT-Bench's files count them: `81.2`; an item of one question keeps its name."""
    return f"{item.id}.{number}" if turns > 1 else item.id


def show_turn(turns: Sequence[Turn], written: Sequence[Written], number: int) -> Shown:
    """What a judge is shown of turn `number`, from 0."""
    turn = turns[number]
    return Shown(
        before=tuple((turns[place].question, written[place].text) for place in range(number)),
        question=turn.question,
        answer=written[number].text,
        reference=turn.reference,
        opponent_before=tuple(turns[place].opponent for place in range(number)),
        opponent=turn.opponent,
    )


def judge_items(
    task: TaskSpec,
    items: Sequence[Item],
    asked: Sequence[Sequence[Turn]],
    written: Sequence[Sequence[Written]],
    *,
    leave_if_asked: Callable[[], None] = lambda: None,
) -> list[ScoredSample]:
    """A sample for each turn of each item, in order; the judges read whatever was answered."""
    shown = [
        (place, number, show_turn(asked[place], written[place], number))
        for place in range(len(items))
        for number, one in enumerate(written[place])
        if not one.reason
    ]
    judged = judge_answers(task, [one for _, _, one in shown], leave_if_asked=leave_if_asked)
    found = {(place, number): one for (place, number, _), one in zip(shown, judged, strict=True)}
    return [
        _make_sample(task, item, asked[place], written[place], number, found.get((place, number)))
        for place, item in enumerate(items)
        for number in range(len(asked[place]))
    ]


def _make_sample(
    task: TaskSpec,
    item: Item,
    turns: Sequence[Turn],
    written: Sequence[Written],
    number: int,
    judged: Judged | None,
) -> ScoredSample:
    """The sample of one turn; `judged` is None where the model gave no answer that could be shown to a judge."""
    assert task.judging is not None
    one, shown = written[number], show_turn(turns, written, number)
    value = judged.value if judged else None
    detail: dict[str, Any] = {"prompt_sha256": task.judging.prompt_sha256(task.metric)}
    if judged:
        detail["judges"] = list(judged.by)
        if judged.spread is not None:
            detail["spread"] = judged.spread
        if judged.fault:
            detail["reason"] = judged.fault
    else:
        detail["reason"] = one.reason
    status = "error" if judged is None else "left_out" if value is None else "truncated" if one.cut else "ok"
    return ScoredSample.model_validate(
        {
            "item": name_turn(item, number + 1, len(turns)),
            "cluster": item.cluster or (item.id if len(turns) > 1 else ""),
            "prompt": write_prompt(shown),
            "output": one.text,
            "target": shown.opponent or shown.reference,
            "score": value,
            "status": status,
            "tokens": one.tokens,
            "detail": detail,
        }
    )


def write_prompt(shown: Shown) -> str:
    """For people: the question, after what was said before it."""
    said = [f"user: {question}\n\nassistant: {answer}\n\n" for question, answer in shown.before]
    return "".join(said) + (f"user: {shown.question}" if said else shown.question)
