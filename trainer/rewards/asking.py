"""Asking a service about many things at once, with retries, back-off, and an end to waiting.

Threads are daemons and are left behind when the time is over or a stop was asked for: no reply is worth a run that does
not end.
"""

import queue
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from trainer.rewards.base import Answer, Reward, Score

Asked = TypeVar("Asked", bound=Hashable)
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
"""Seconds before the second attempt, which double with each further one, and their end."""
LONGEST_ASKED_WAIT = 60.0
"""Seconds that a server may ask to wait."""
LOOK_SECONDS = 0.2
"""How often a request to stop is looked for."""


@dataclass(frozen=True)
class Attempt:
    """What one call brought."""

    score: Score
    again: bool = False
    """Another attempt may succeed."""
    refused: bool = False
    """Every further call, also about other things, would fail in the same way."""
    wait_s: float = 0.0
    """Seconds that the server asked to wait."""


class AskingReward(Reward, Generic[Asked]):
    """A reward that a service gives, from 0 to 1. Equal things are asked about once in a step.

    Its config has `attempts`, `concurrency`, `seconds` and `total_seconds`.
    """

    range = (0.0, 1.0)
    costly = True
    late: ClassVar[str]
    """The fault of what is unanswered after `total_seconds`, which it names as `{seconds:g}`."""

    @abstractmethod
    def prepare(self, answer: Answer) -> Asked | Score:
        """What to ask about, or the score where there is nothing to ask."""

    @abstractmethod
    def ask(self, asked: Asked, seconds: float) -> Attempt:
        """One call of the service; from several threads at a time."""

    def score(self, answers: Sequence[Answer]) -> list[Score]:
        prepared = [self.prepare(answer) for answer in answers]
        asked = list(dict.fromkeys(one for one in prepared if not isinstance(one, Score)))
        scores = dict(zip(asked, self._ask(asked), strict=True)) if asked else {}
        return [one if isinstance(one, Score) else scores[one] for one in prepared]

    def _ask(self, asked: Sequence[Asked]) -> list[Score]:
        config: Any = self.config
        return ask_all(
            asked,
            self.ask,
            attempts=config.attempts,
            concurrency=config.concurrency,
            seconds=config.seconds,
            deadline=time.monotonic() + config.total_seconds,
            late=self.late.format(seconds=config.total_seconds),
            leave_if_asked=self.leave_if_asked,
        )


def ask_all(
    asked: Sequence[Asked],
    attempt: Callable[[Asked, float], Attempt],
    *,
    attempts: int,
    concurrency: int,
    seconds: float,
    deadline: float,
    late: str,
    leave_if_asked: Callable[[], None],
) -> list[Score]:
    """One score for each thing asked, in order; a fault where the service failed until `attempts` were used up.

    `attempt` is called from threads with the seconds it may take. What is unanswered at `deadline` (of the monotonic
    clock) gets the fault `late`. Once as many things in a row as there are threads could not be asked, the service is
    taken to be away and the rest is not asked. Passes on what `leave_if_asked` raises.
    """
    asking = _Asking(asked, attempt, attempts=attempts, seconds=seconds, deadline=deadline, late=late)
    asking.tolerated = min(concurrency, len(asked))
    for _ in range(asking.tolerated):
        threading.Thread(target=asking.work, daemon=True).start()
    scores: list[Score | None] = [None] * len(asked)
    missing = len(asked)
    try:
        while missing and time.monotonic() < deadline:
            leave_if_asked()
            try:
                place, score = asking.done.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            scores[place] = score
            missing -= 1
    finally:
        asking.over.set()
    return [score or Score(None, late) for score in scores]


class _Asking(Generic[Asked]):
    """What the threads of one call share."""

    def __init__(
        self,
        asked: Sequence[Asked],
        attempt: Callable[[Asked, float], Attempt],
        *,
        attempts: int,
        seconds: float,
        deadline: float,
        late: str,
    ) -> None:
        self.open: queue.SimpleQueue[tuple[int, Asked]] = queue.SimpleQueue()
        for place, thing in enumerate(asked):
            self.open.put((place, thing))
        self.done: queue.SimpleQueue[tuple[int, Score]] = queue.SimpleQueue()
        self.over = threading.Event()
        self.attempt, self.attempts, self.seconds = attempt, attempts, seconds
        self.deadline, self.late = deadline, late
        self.tolerated = 1
        self._lock = threading.Lock()
        self._failed_in_row = 0
        self._given_up = ""

    def work(self) -> None:
        while not self.over.is_set():
            try:
                place, thing = self.open.get_nowait()
            except queue.Empty:
                return
            self.done.put((place, self._ask(thing)))

    def _ask(self, thing: Asked) -> Score:
        if self._given_up:
            return Score(None, self._given_up)
        made = 0
        while True:
            left = self.deadline - time.monotonic()
            if left <= 0:
                return Score(None, self.late)
            try:
                found = self.attempt(thing, min(self.seconds, left))
            except Exception as error:
                return Score(None, f"The reward broke: {type(error).__name__}: {error}"[:300])
            made += 1
            if not found.again or made >= self.attempts:
                self._remember(found)
                return found.score
            wait = max(min(LONGEST_WAIT, FIRST_WAIT * 2 ** (made - 1)), min(LONGEST_ASKED_WAIT, found.wait_s))
            if self.over.wait(min(wait, max(0.0, left))):
                return Score(None, self.late)

    def _remember(self, found: Attempt) -> None:
        with self._lock:
            self._failed_in_row = self._failed_in_row + 1 if found.again else 0
            if found.refused:
                self._given_up = found.score.fault
            elif self._failed_in_row >= max(2, self.tolerated):
                self._given_up = f"{found.score.fault} The last {self._failed_in_row} could not be asked either."
