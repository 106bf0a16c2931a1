"""Documents → sequences of at most `sequence_length` tokens, a batch of them per optimiser step."""

from collections.abc import Callable, Sequence
from typing import Any

from trainer.data.mixing import Key, Mixture


def first_fit(lengths: Sequence[int], *, bins: int, capacity: int) -> tuple[list[list[int]], list[int]]:
    """Put each item, in the order given, into the first bin with room; the second list holds those that fit nowhere."""
    packed: list[list[int]] = [[] for _ in range(bins)]
    room = [capacity] * bins
    left: list[int] = []
    for item, length in enumerate(lengths):
        for number, free in enumerate(room):
            if length <= free:
                packed[number].append(item)
                room[number] -= length
                break
        else:
            left.append(item)
    return packed, left


class Packer:
    """Fills the sequences of one optimiser step after the other.

    A step draws documents until they could fill its sequences, then places first those left over from earlier steps
    (so none waits forever), then the new ones from the longest to the shortest. What fits nowhere is left over for
    the next step and belongs to the state. Ends after `tokens` drawn tokens, when given; the share of them that is
    drawn is then the mixture's progress, which otherwise is told with each step. Ends also where the mixture does.
    """

    def __init__(
        self,
        mixture: Mixture,
        length_of: Callable[[Key], int],
        *,
        sequences: int,
        sequence_length: int,
        tokens: int | None = None,
    ) -> None:
        self._mixture = mixture
        self._length_of = length_of
        self._sequences = sequences
        self._capacity = sequence_length
        self._tokens = tokens
        self._left: list[Key] = []

    def next_step(self, progress: float = 0.0) -> list[list[Key]]:
        """Sequences of documents, without the empty ones; an empty list after the last drawn document."""
        waiting, wanted = list(self._left), self._sequences * self._capacity
        drawn: list[Key] = []
        total = sum(map(self._length_of, waiting))
        while total < wanted and not self._exhausted():
            key = self._mixture.draw(self._mixture.tokens / self._tokens if self._tokens else progress)
            if key is None:
                break
            drawn.append(key)
            total += self._length_of(key)
        waiting += sorted(drawn, key=self._length_of, reverse=True)
        packed, left = first_fit(
            [self._length_of(key) for key in waiting], bins=self._sequences, capacity=self._capacity
        )
        self._left = [waiting[item] for item in left]
        return [[waiting[item] for item in sequence] for sequence in packed if sequence]

    def state(self) -> dict[str, Any]:
        return {"mixture": self._mixture.state(), "left": self._left}

    def restore(self, state: dict[str, Any]) -> None:
        self._mixture.restore(state["mixture"])
        self._left = [(source, document) for source, document in state["left"]]

    def _exhausted(self) -> bool:
        return self._tokens is not None and self._mixture.tokens >= self._tokens


def count_steps(packer: Packer, *, wanted: int | None = None) -> int:
    """Steps until the packer has nothing more, at most the wanted ones; uses it up."""
    steps = 0
    while (wanted is None or steps < wanted) and packer.next_step(steps / wanted if wanted else 0.0):
        steps += 1
    return steps
