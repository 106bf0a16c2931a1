"""The order in which a stage draws documents from its sources."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class _Source:
    lengths_D: NDArray[np.int64]
    weight: float
    passes: int = 0
    """Complete passes made over the documents."""
    position: int = 0
    """Documents drawn in the present pass."""
    tokens: int = 0


class Mixture:
    """Draws documents without end. Each source is shuffled anew for each pass and drawn without replacement.

    A source's weight is its share of the drawn tokens: the next document comes from the source that is furthest
    behind its share, so no random number decides it. The permutation of a pass follows from (seed, source, pass)
    alone; a few integers are the whole state.
    """

    def __init__(self, lengths: Sequence[NDArray[np.int64]], weights: Sequence[float], *, seed: Sequence[int]) -> None:
        self._sources = [_Source(lengths_D, weight) for lengths_D, weight in zip(lengths, weights, strict=True)]
        self._seed = tuple(seed)
        self._orders = [self._shuffle(number) for number in range(len(self._sources))]

    @property
    def tokens(self) -> int:
        """Tokens drawn so far."""
        return sum(source.tokens for source in self._sources)

    def draw(self) -> tuple[int, int]:
        """The next document as (source, document)."""
        number = min(range(len(self._sources)), key=lambda i: (self._sources[i].tokens / self._sources[i].weight, i))
        source = self._sources[number]
        if source.position == len(source.lengths_D):
            source.passes, source.position = source.passes + 1, 0
            self._orders[number] = self._shuffle(number)
        document = int(self._orders[number][source.position])
        source.position += 1
        source.tokens += int(source.lengths_D[document])
        return number, document

    def state(self) -> list[dict[str, int]]:
        return [{"passes": s.passes, "position": s.position, "tokens": s.tokens} for s in self._sources]

    def restore(self, state: list[dict[str, Any]]) -> None:
        for number, (source, saved) in enumerate(zip(self._sources, state, strict=True)):
            source.passes, source.position, source.tokens = saved["passes"], saved["position"], saved["tokens"]
            self._orders[number] = self._shuffle(number)

    def _shuffle(self, number: int) -> NDArray[np.int64]:
        source = self._sources[number]
        generator = np.random.Generator(np.random.PCG64([*self._seed, number, source.passes]))
        return generator.permutation(len(source.lengths_D))
