"""From a task and its rows to items: the prompt the model reads and the answer it is held to."""

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from trainer.contract import TaskSpec
from trainer.contract.items import name_items
from trainer.evaluation.errors import TaskError
from trainer.rollouts.prompts import asked_messages

FEWSHOT_DELIMITER = "\n\n"

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question of a task."""

    id: str
    """The row's own id, else a hash of the row: the same for every model."""
    cluster: str
    prompt: str
    """The whole text before the answer: solved items, chat template and all; with an agent plainly what it is asked."""
    target: str
    """Reference answer; the text of the right option for multiple choice."""
    choices: tuple[str, ...] = ()
    answer: int | None = None
    """Position of the right option."""
    question: str = ""
    """The prompt without solved items and chat template."""
    row: Row = field(default_factory=dict)
    """What rewards and some metrics look at."""
    repeat: int = 0
    """Which of several answers to the same question this item is, from 1; 0: the only one."""
    messages: tuple[dict[str, Any], ...] = ()
    """The conversation that an agent is to answer."""


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON-lines file; raises TaskError naming the line that is not an object."""
    rows = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise TaskError(f"{path.name}, line {number}: not JSON ({error.msg}); mend the file") from error
            if not isinstance(row, dict):
                raise TaskError(f"{path.name}, line {number}: a row must be a JSON object with named fields")
            rows.append(row)
    return rows


def render_items(task: TaskSpec, rows: Sequence[Row], *, tokenizer: Any, as_messages: bool = False) -> list[Item]:
    """Items in the order of the rows. The first `num_fewshot` rows are shown solved and not scored.

    `as_messages`: whoever answers puts conversations into a chat template, so that no tokenizer is needed here.
    """
    if len(rows) <= task.num_fewshot:
        raise TaskError(
            f"{task.task}: the dataset has {len(rows)} rows and num_fewshot takes {task.num_fewshot}; none is left"
        )
    shown = [_read_row(task, row, number) for number, row in enumerate(rows[: task.num_fewshot], start=1)]
    items = []
    for place, name in name_items(rows, shown=task.num_fewshot, limit=task.limit):
        number, row = place + 1, rows[place]
        question = _read_row(task, row, number)
        messages = _read_messages(task, row, number) if task.agent else ()
        if as_messages and not task.agent:
            messages = _ask_in_turns(task, shown, question.text)
        item = Item(
            id=name,
            cluster=_read_cluster(task, row, number),
            prompt=_write_plainly(messages) if messages else _join_prompt(task, shown, question.text, tokenizer),
            target=question.target,
            choices=question.choices,
            answer=question.answer,
            question=question.text,
            row=row,
            messages=messages,
        )
        items += _repeat(item, task.repeats)
    return items


def _repeat(item: Item, times: int) -> list[Item]:
    """Answers to one question depend on each other: where the task names no cluster, the question is one."""
    if times == 1:
        return [item]
    return [
        replace(item, id=f"{item.id}#{number}", cluster=item.cluster or item.id, repeat=number)
        for number in range(1, times + 1)
    ]


def answer_delimiter(task: TaskSpec, prompt: str) -> str:
    """What stands between prompt and answer: nothing in a chat or after white space, else the task's delimiter."""
    return "" if task.chat or not prompt or prompt[-1].isspace() else task.target_delimiter


def encode_prompt(task: TaskSpec, prompt: str, tokenizer: Any) -> list[int]:
    """Token ids of a prompt. A chat template writes its own special tokens; an empty prompt becomes a start token."""
    ids: list[int] = tokenizer.encode(prompt, add_special_tokens=not task.chat)
    return ids or [start_token(task, tokenizer)]


def start_token(task: TaskSpec, tokenizer: Any) -> int:
    """The token that the first token of a text is predicted from."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    raise TaskError(f"{task.task}: the tokenizer names neither a begin nor an end token; set one in its config")


@dataclass(frozen=True)
class _Question:
    text: str
    target: str
    choices: tuple[str, ...]
    answer: int | None


def _read_row(task: TaskSpec, row: Row, number: int) -> _Question:
    # A text has no question before it unless the task writes one: the default is meant for questions.
    # A conversation has its questions in the row.
    asks = not (
        (task.output_type in ("loglikelihood_rolling", "agent") and task.doc_to_text == _DEFAULT_PROMPT)
        or (task.judging is not None and task.judging.turns)
    )
    text = _render(task, "doc_to_text", row, number) if asks else ""
    # An agent is judged by its row, and judges have their reference there; the target is for people to read.
    told = not (task.agent or task.judging) or "answer" in row or task.doc_to_target != _DEFAULT_TARGET
    target = _render(task, "doc_to_target", row, number) if told else ""
    if task.output_type != "multiple_choice":
        return _Question(text, target, (), None)
    options = _read_choices(task, row, number)
    try:
        answer = int(target)
    except ValueError as error:
        if options.count(target) == 1:
            return _Question(text, target, options, options.index(target))
        raise TaskError(
            f"{task.task}, row {number}: doc_to_target gives {target!r}; multiple choice needs the position of the "
            "right option, counted from 0, or the option itself"
        ) from error
    if not 0 <= answer < len(options):
        raise TaskError(f"{task.task}, row {number}: option {answer} is right, but there are {len(options)} from 0")
    return _Question(text, options[answer], options, answer)


def _read_choices(task: TaskSpec, row: Row, number: int) -> tuple[str, ...]:
    named = task.doc_to_choice
    choices: Any = named
    if isinstance(named, str):
        choices = row.get(named)
        if "{{" in named or "{%" in named:
            written = _render(task, "doc_to_choice", row, number)
            try:
                choices = ast.literal_eval(written)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                choices = None
    if not isinstance(choices, list) or len(choices) < 2:
        raise TaskError(
            f"{task.task}, row {number}: field {named} (doc_to_choice) is not a list of two options or more; the row "
            f"has {', '.join(row)}"
        )
    options = tuple(str(choice) for choice in choices)
    if not all(options):
        raise TaskError(f"{task.task}, row {number}: an option of {named} is empty")
    return options


def _read_messages(task: TaskSpec, row: Row, number: int) -> tuple[dict[str, Any], ...]:
    """As training asks; or the task's own words as a question."""
    assert task.agent is not None
    asked = row
    if task.doc_to_text != _DEFAULT_PROMPT:
        asked = {"question": _render(task, "doc_to_text", row, number)}
    try:
        messages = tuple(dict(one) for one in asked_messages(dict(asked), task.agent.system_prompt))
        if not all(isinstance(one["role"], str) for one in messages):
            raise ValueError("a turn has no role")
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise TaskError(
            f"{task.task}, row {number}: an agent is asked a `question` or `messages`, and the row has none that can "
            f"be read ({error}); it has {_names(row)}"
        ) from error
    return messages


def _write_plainly(messages: Sequence[Mapping[str, Any]]) -> str:
    """For people: the question alone, or who says what."""
    if len(messages) == 1:
        return str(messages[0].get("content") or "")
    return "\n\n".join(f"{one['role']}: {one.get('content') or ''}" for one in messages)


def _read_cluster(task: TaskSpec, row: Row, number: int) -> str:
    field = task.x_stats.cluster
    if not field:
        return ""
    if field not in row:
        raise TaskError(
            f"{task.task}, row {number}: no field {field}, which x_stats.cluster names; it has {_names(row)}"
        )
    return str(row[field])


def _join_prompt(task: TaskSpec, shown: Sequence[_Question], text: str, tokenizer: Any) -> str:
    if not task.chat:
        return _join_text(task, shown, text)
    if not getattr(tokenizer, "chat_template", None):
        raise TaskError(f"{task.task}: chat is set, but the model's tokenizer has no chat template; set chat to false")
    messages = _ask_in_turns(task, shown, text)
    return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True))


def _join_text(task: TaskSpec, shown: Sequence[_Question], text: str) -> str:
    solved = [f"{q.text}{answer_delimiter(task, q.text)}{q.target}{FEWSHOT_DELIMITER}" for q in shown]
    return "".join(solved) + text


def _ask_in_turns(task: TaskSpec, shown: Sequence[_Question], text: str) -> tuple[dict[str, Any], ...]:
    """Solved items as turns where the task is a chat; else all in one question, as it stands before the answer."""
    if not task.chat:
        return ({"role": "user", "content": _join_text(task, shown, text)},)
    messages = []
    for question in shown:
        messages.append({"role": "user", "content": question.text})
        messages.append({"role": "assistant", "content": question.target})
    return (*messages, {"role": "user", "content": text})


_DEFAULT_PROMPT = TaskSpec.model_fields["doc_to_text"].default
_DEFAULT_TARGET = TaskSpec.model_fields["doc_to_target"].default
_TEMPLATES = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)


def _render(task: TaskSpec, field: str, row: Row, number: int) -> str:
    try:
        return _compile(getattr(task, field)).render(row)
    except (TemplateError, TypeError, ArithmeticError) as error:
        raise TaskError(f"{task.task}, row {number}: {field} fails: {error}; the row has {_names(row)}") from error


@lru_cache(maxsize=64)
def _compile(source: str) -> Template:
    """Once for all rows: compiling takes longer than writing one."""
    return _TEMPLATES.from_string(source)


def _names(row: Row) -> str:
    return ", ".join(row)
