"""What the micro-batches of one optimiser step add up to, on one rank or on all."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trainer.algorithms.base import Batch, LossTerms, add_reported


@dataclass
class Tally:
    parts: dict[str, float] = field(default_factory=dict)
    """Terms of the loss by name."""
    reported: dict[str, tuple[float, float]] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)
    counted: int = 0
    """Targets that the terms really counted."""

    def add(self, batch: Batch, terms: LossTerms) -> None:
        for name, value in terms.terms.items():
            self.parts[name] = self.parts.get(name, 0.0) + value.item()
        add_reported(self.reported, terms.reported)
        self._raise_largest(terms.largest)
        self.counted += batch.targets if terms.counted is None else terms.counted

    def scale(self, factor: float) -> None:
        self.parts = {name: value * factor for name, value in self.parts.items()}

    @property
    def loss(self) -> float:
        return sum(self.parts.values())

    def metrics(self) -> dict[str, float]:
        named = {
            name if "/" in name else f"train/{name}": value
            for name, value in self.parts.items()
            if "/" in name or len(self.parts) > 1
        }
        means = {name: total / count for name, (total, count) in self.reported.items() if count}
        return {**named, **means, **self.largest}

    def _raise_largest(self, largest: Mapping[str, float]) -> None:
        for name, number in largest.items():
            self.largest[name] = max(self.largest.get(name, -math.inf), number)


def add_tallies(tallies: Sequence[Tally]) -> Tally:
    """Of all ranks together; of one it is that one, bit for bit."""
    total, *others = tallies
    for other in others:
        for name, value in other.parts.items():
            total.parts[name] = total.parts.get(name, 0.0) + value
        add_reported(total.reported, other.reported)
        total._raise_largest(other.largest)
        total.counted += other.counted
    return total
