"""The order in which a stage draws documents from its sources."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.contract.mixture import MixtureSource, turning_points

Key = tuple[int, int]
"""A document as (source, number in the source)."""
CHOICE = 2**31
"""Stands in the place of a pass where the seed chooses which documents a capped source has."""


class MixtureEmpty(Exception):
    """Every source that may be drawn now has reached its cap; a later one has not entered yet."""

    def __init__(self, progress: float) -> None:
        self.progress = progress
        super().__init__(f"nothing is left to draw at {progress:.4g} of the stage")


@dataclass
class _Source:
    plan: MixtureSource
    lengths_D: NDArray[np.int64]
    chosen_C: NDArray[np.int64] | None
    """Documents that may be drawn; None: all."""
    passes: int = 0
    """Complete passes made over the documents."""
    position: int = 0
    """Documents drawn in the present pass."""
    tokens: int = 0
    since: int = 0
    """Tokens drawn since the mixture last changed."""

    def __post_init__(self) -> None:
        self.documents = len(self.lengths_D) if self.chosen_C is None else len(self.chosen_C)
        """Documents of a pass."""
        self.capped = self.plan.capped

    @property
    def drawn(self) -> int:
        """Documents drawn in all."""
        return self.passes * self.documents + self.position

    @property
    def size(self) -> int:
        """Tokens of a pass."""
        return int(self.lengths_D.sum() if self.chosen_C is None else self.lengths_D[self.chosen_C].sum())

    @property
    def most(self) -> float:
        """Documents that may be drawn in all."""
        passes = self.plan.max_passes
        return math.inf if passes is None else max(1, math.floor(passes * self.documents))


class Mixture:
    """Draws documents without end, or until all caps are reached. Each source is shuffled anew for each pass and drawn
    without replacement.

    A source's weight is its share of the tokens drawn while the weights stay the same: the next document comes from the
    source that is furthest behind its share, so no random number decides it. Where a weight changes, the count begins
    anew: a source that enters late is not made to catch up. The permutation of a pass follows from (seed, source, pass)
    alone; a few integers are the whole state.
    """

    def __init__(
        self, lengths: Sequence[NDArray[np.int64]], plans: Sequence[MixtureSource], *, seed: Sequence[int]
    ) -> None:
        self._seed = tuple(seed)
        self._turns = turning_points(plans)
        self._sources = [
            _Source(plan, length_D, self._choose(number, len(length_D), plan.max_rows))
            for number, (length_D, plan) in enumerate(zip(lengths, plans, strict=True))
        ]
        self._orders = [self._shuffle(number) for number in range(len(self._sources))]
        self._enter(0)

    @property
    def tokens(self) -> int:
        """Tokens drawn so far."""
        return sum(source.tokens for source in self._sources)

    @property
    def size(self) -> int:
        """Tokens of one pass over all sources, of the rows that may be used."""
        return sum(source.size for source in self._sources)

    def draw(self, progress: float = 0.0) -> Key | None:
        """The next document, None when there will be none any more; `progress` is the share of the stage that is done.

        Raises MixtureEmpty when there is none now, but would be later.
        """
        if (turn := bisect_right(self._turns, progress)) != self._turn:
            self._enter(turn)
            for source in self._sources:
                source.since = 0
        number, least = None, math.inf
        for place, weight in self._open:
            behind = self._sources[place].since / weight
            if behind < least and self._has_more(place):
                number, least = place, behind
        if number is None:
            if self._turn < len(self._turns):
                raise MixtureEmpty(progress)
            return None
        source, document = self._sources[number], self._next_of(number)
        source.position += 1
        source.tokens += int(source.lengths_D[document])
        source.since += int(source.lengths_D[document])
        return number, document

    def state(self) -> dict[str, Any]:
        return {
            "turn": self._turn,
            "sources": [
                {"passes": s.passes, "position": s.position, "tokens": s.tokens, "since": s.since}
                for s in self._sources
            ],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._enter(state["turn"])
        for number, (source, saved) in enumerate(zip(self._sources, state["sources"], strict=True)):
            source.passes, source.position = saved["passes"], saved["position"]
            source.tokens, source.since = saved["tokens"], saved["since"]
            self._orders[number] = self._shuffle(number)

    def _enter(self, turn: int) -> None:
        """Take the weights that hold after so many changes of the mixture."""
        self._turn = turn
        moment = self._turns[turn - 1] if turn else 0.0
        weights = enumerate(source.plan.weight_at(moment) for source in self._sources)
        self._open = [(place, weight) for place, weight in weights if weight]

    def _next_of(self, number: int) -> int:
        """The next document of a source; a new pass begins where the last one is through."""
        source = self._sources[number]
        if source.position == source.documents:
            source.passes, source.position = source.passes + 1, 0
            self._orders[number] = self._shuffle(number)
        return int(self._orders[number][source.position])

    def _has_more(self, number: int) -> bool:
        """Whether the caps of a source leave room for its next document."""
        source = self._sources[number]
        if not source.capped:
            return True
        if source.drawn >= source.most:
            return False
        most = source.plan.max_tokens
        return most is None or source.tokens + int(source.lengths_D[self._next_of(number)]) <= most

    def _choose(self, number: int, documents: int, most: int | None) -> NDArray[np.int64] | None:
        if most is None or most >= documents:
            return None
        return np.sort(self._generator(number, CHOICE).permutation(documents)[:most])

    def _shuffle(self, number: int) -> NDArray[np.int64]:
        source = self._sources[number]
        order_D = self._generator(number, source.passes).permutation(source.documents)
        return order_D if source.chosen_C is None else source.chosen_C[order_D]

    def _generator(self, number: int, turn: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([*self._seed, number, turn]))
