"""Requests that come one after another, as those of conversations do."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from trainer.sampling import Completion, SamplingRequest


class Trickle:
    """Gives the next requests after so many calls of `take`; counts how often it was asked to wait."""

    def __init__(self, arrivals: Sequence[tuple[int, SamplingRequest]]) -> None:
        self.arrivals = list(arrivals)
        self.answers: dict[int, Completion] = {}
        self.asked = 0
        self.waits = 0
        self.given = 0

    def take(self) -> list[tuple[int, SamplingRequest]]:
        self.asked += 1
        found = []
        while self.arrivals and self.arrivals[0][0] <= self.asked:
            found.append((self.given, self.arrivals.pop(0)[1]))
            self.given += 1
        return found

    def wait(self) -> bool:
        self.waits += 1
        if self.arrivals:
            self.asked = self.arrivals[0][0]
        return bool(self.arrivals)

    def answer(self, number: int, completion: Completion) -> None:
        assert number not in self.answers
        self.answers[number] = completion


class Conversations:
    """Each asks for a turn, waits for a tool, and asks for the next with all that went before it in its prompt.

    `tool` says when a conversation may go on: it is called with the conversation's number whenever it is looked for,
    and takes no time itself.
    """

    def __init__(
        self, first: Sequence[SamplingRequest], *, turns: int, said: Sequence[int], tool: Callable[[int], bool]
    ) -> None:
        self.asked: list[tuple[int, SamplingRequest]] = []
        self.answers: list[tuple[int, Completion]] = []
        self._ready = list(enumerate(first))
        self._waiting: list[tuple[int, SamplingRequest]] = []
        self._turns, self._said, self._tool = dict.fromkeys(range(len(first)), turns), tuple(said), tool

    def take(self) -> list[tuple[int, SamplingRequest]]:
        self._look()
        taken, self._ready = self._ready, []
        self.asked += taken
        return taken

    def wait(self) -> bool:
        while self._waiting and not self._ready:
            self._look()
        return bool(self._ready)

    def answer(self, number: int, completion: Completion) -> None:
        self.answers.append((number, completion))
        self._turns[number] -= 1
        if self._turns[number]:
            before = next(one for at, one in reversed(self.asked) if at == number)
            prompt = (*before.prompt_ids, *completion.token_ids, *self._said)
            self._waiting.append((number, replace(before, prompt_ids=prompt, seed=before.seed + 1)))

    def _look(self) -> None:
        self._ready += [one for one in self._waiting if self._tool(one[0])]
        self._waiting = [one for one in self._waiting if one not in self._ready]
