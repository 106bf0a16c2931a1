"""Asking an endpoint one question for each of many things."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from chanote.building.endpoint import ChatEndpoint, Question, Reply

Thing = TypeVar("Thing")


def ask_each(
    endpoint: ChatEndpoint, pairs: Iterable[tuple[Thing, Question]], *, leave_if_asked: Callable[[], None]
) -> Iterator[tuple[Thing, Reply]]:
    """Each thing with the reply to its question, in order; only those under way are in memory."""
    waiting: deque[Thing] = deque()

    def questions() -> Iterator[Question]:
        for thing, question in pairs:
            waiting.append(thing)
            yield question

    for _, reply in endpoint.ask_all(questions(), leave_if_asked=leave_if_asked):
        yield waiting.popleft(), reply
