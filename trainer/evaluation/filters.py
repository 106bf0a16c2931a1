"""From what a model wrote to what is judged: the filters of a task, as lm-evaluation-harness names them."""

from collections.abc import Sequence

import regex

from trainer.contract import TaskSpec
from trainer.contract.tasks import FilterStep

SECONDS = 5.0
"""Processor time for one pattern on one answer: patterns are written by people, answers by models."""
WHITE = regex.compile(r"\s+")


class FilterTimeout(Exception):
    """A pattern took too long on an answer. The message is a sentence."""


def filter_answer(task: TaskSpec, text: str) -> str:
    """The part that is judged; raises FilterTimeout."""
    for chain in task.filter_list:
        for step in chain.filter:
            text = _apply(step, text)
    return text


def _apply(step: FilterStep, text: str) -> str:
    match step.function:
        case "regex":
            return _find(step, text)
        case "remove_whitespace":
            return WHITE.sub("", text)
        case "lowercase":
            return text.lower()
        case "take_first":
            return text


def _find(step: FilterStep, text: str) -> str:
    """The chosen find, stripped; the fallback where there is none."""
    try:
        found = regex.findall(step.regex_pattern, text, timeout=SECONDS)
    except TimeoutError as error:
        raise FilterTimeout(
            f"The pattern {step.regex_pattern[:80]} took more than {SECONDS:g} s on an answer of {len(text)} "
            "characters; write it so that it need not go back."
        ) from error
    try:
        chosen = found[step.group_select]
    except IndexError:
        return step.fallback
    return _first_group(chosen).strip() if chosen else step.fallback


def _first_group(chosen: str | Sequence[str]) -> str:
    return chosen if isinstance(chosen, str) else next((group for group in chosen if group), "")
