"""Asking the endpoint: one call at a time per episode or item, and again where the service failed."""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import JsonValue

from trainer.contract.endpoints import Endpoint, EndpointError, call
from trainer.evaluation.endpoint.chat import NoCompletion, Reply, Unanswered, read_reply
from trainer.rollouts.rollout import Ending

FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
"""Seconds before the second try, which double with each further one, and their end."""
LONGEST_ASKED_WAIT = 60.0
"""Seconds that a server may ask to wait."""
TOO_LONG = re.compile(r"context (length|size|window)|prompt is too long|too many tokens", re.IGNORECASE)
"""How servers say that a conversation has outgrown the model."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Asking:
    """How the endpoint is asked."""

    endpoint: Endpoint
    seconds: float = 120.0
    """For one call."""
    attempts: int = 4
    """Calls for one turn."""
    extra: dict[str, JsonValue] | None = None
    """Further fields of every request."""


class TurnAsker:
    """To the loop of episodes an engine: it takes requests, bodies of chat completions, and answers each with a turn.
    One episode at a time.

    Raises EndpointError where every further call would fail alike.
    """

    def __init__(self, asking: Asking, over: threading.Event) -> None:
        self.asking, self.over = asking, over

    def serve(self, requests: Any, *, most: int, longest: int, should_stop: Callable[[], bool] | None = None) -> None:
        while not (should_stop and should_stop()) and requests.wait():
            for number, body in requests.take():
                requests.answer(number, self._ask(body))

    def _ask(self, body: dict[str, Any]) -> Reply | Unanswered:
        return ask_again(self.asking, "/chat/completions", body, read_reply, self.over)


def ask_again(
    asking: Asking, path: str, body: dict[str, Any], read: Callable[[Any], Answer], over: threading.Event
) -> Answer | Unanswered:
    """What `read` makes of the reply, which raises NoCompletion for nonsense; asked again where the service failed.

    Raises EndpointError where every further call would fail alike.
    """
    attempt, sent = 0, {**(asking.extra or {}), **body}
    while True:
        attempt += 1
        wait = 0.0
        try:
            return read(call(asking.endpoint, path, sent, seconds=asking.seconds))
        except NoCompletion as error:
            reason = f"{asking.endpoint.base_url} answered nonsense: {error}."
        except EndpointError as error:
            if error.refused:
                raise
            reason, wait = str(error), error.wait_s
            if not error.again:
                grown = error.status in (400, 413) and TOO_LONG.search(reason)
                return Unanswered(Ending.LENGTH if grown else Ending.SERVICE_FAILED, reason)
        if attempt >= asking.attempts:
            return Unanswered(Ending.SERVICE_FAILED, reason)
        pause = max(min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1)), min(LONGEST_ASKED_WAIT, wait))
        if over.wait(pause):
            return Unanswered(Ending.INTERRUPTED, "")
