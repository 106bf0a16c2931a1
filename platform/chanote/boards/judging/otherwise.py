"""Models whose answers to the same questions other judges read, or with other words: shown, not compared."""

from collections.abc import Mapping, Sequence

from chanote.boards.judging.identity import identify_judging, word_difference
from chanote.boards.models import Evaluation, Task


def find_judged_otherwise(
    tasks: Mapping[Task, Sequence[Evaluation]], shown: Sequence[Task]
) -> dict[Task, dict[Task, str]]:
    """For each judged task shown the other tasks of the board that ask the same, and why they do not compare."""
    judged = {task: judging for task in tasks if (judging := identify_judging(task)) is not None}
    found: dict[Task, dict[Task, str]] = {}
    for task in shown:
        here = judged.get(task)
        if here is None:
            continue
        others = {
            other: word_difference(here, there)
            for other, there in judged.items()
            if other != task and there.family == here.family and there.identity != here.identity
        }
        if others:
            found[task] = others
    return found
