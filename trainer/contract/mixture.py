"""A mixture of sources: what each weighs at every moment of a stage, and where its caps lie.

Both programs read a mixture by these functions: the trainer draws by them, the platform shows what they say before a
launch. `progress` is the share of the stage that is done, from 0 to 1: optimiser steps made of those to be made or,
where a stage counts epochs of packed documents, tokens drawn of those to be drawn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from trainer.contract.base import Contract


class DataSource(Contract):
    """Rows of one dataset version."""

    dataset: str = Field(min_length=1, examples=["new-code@1"])
    """Dataset and version, written `name@version`; without `@version` the newest version at launch is frozen."""
    weight: PositiveFloat = 1.0
    """Share of this source in the mixture, relative to the other sources of the stage."""


class WeightChange(Contract):
    """Another weight from a moment on."""

    at: float = Field(gt=0, lt=1)
    """Share of the stage after which the weight holds."""
    weight: NonNegativeFloat
    """The weight from there on; 0 takes the source out of the mixture."""


class MixtureSource(DataSource):
    """Rows of one dataset version in a mixture that may change while the stage goes on."""

    enters: float = Field(default=0.0, ge=0, lt=1)
    """Share of the stage that goes by before the source enters: 0.9 keeps it for the last tenth."""
    changes: list[WeightChange] = []
    """Other weights from later moments on."""
    max_rows: PositiveInt | None = None
    """Most different rows that are used, chosen by the seed; a row that becomes several documents counts as several."""
    max_tokens: PositiveInt | None = None
    """Most tokens that are drawn from the source in the stage; it then leaves the mixture."""
    max_passes: PositiveFloat | None = None
    """Most passes over the source's rows; it then leaves the mixture."""

    @property
    def capped(self) -> bool:
        """Whether the source may leave the mixture before the stage ends."""
        return self.max_tokens is not None or self.max_passes is not None

    @property
    def turns(self) -> list[float]:
        """Moments at which its weight becomes another one."""
        return [moment for moment in (self.enters, *(change.at for change in self.changes)) if moment > 0]

    def weight_at(self, progress: float) -> float:
        """0 while it has not entered."""
        if progress < self.enters:
            return 0.0
        return next((change.weight for change in reversed(self.changes) if change.at <= progress), self.weight)

    @model_validator(mode="after")
    def _check_changes(self) -> "MixtureSource":
        for before, after in pairwise([self.enters, *(change.at for change in self.changes)]):
            if after <= before:
                word = "enters" if before == self.enters and self.changes[0].at == after else "the change before it"
                raise ValueError(
                    f"changes must lie one after the other and after enters, and {after:g} does not come after {word} "
                    f"at {before:g}; put them in order"
                )
        return self


def turning_points(sources: Sequence[MixtureSource]) -> list[float]:
    """Moments, in order, at which some source's weight becomes another one."""
    return sorted({moment for source in sources for moment in source.turns})


def find_empty_span(sources: Sequence[MixtureSource]) -> tuple[float, float] | None:
    """The first part of the stage in which no source has a weight, as (start, stop)."""
    moments = [0.0, *turning_points(sources), 1.0]
    return next(
        (span for span in pairwise(moments) if not any(source.weight_at(span[0]) for source in sources)),
        None,
    )


class Limit(NamedTuple):
    """What a source holds and may give, in tokens or in rows."""

    size: float | None
    """One pass over the rows that may be used; None where nobody knows it yet."""
    most: float
    """What may be drawn in the stage."""


def limit_of(source: MixtureSource, size: float | None) -> Limit:
    """`size` is of all rows that may be used, in the unit that the mixture counts."""
    by_passes = source.max_passes * size if source.max_passes is not None and size is not None else math.inf
    return Limit(size, min(by_passes, source.max_tokens or math.inf))


@dataclass(frozen=True)
class Span:
    """A part of a stage in which the mixture stays the same."""

    start: float
    stop: float
    shares: list[float]
    """Of what is drawn, by source; they add up to 1, or are all 0 where nothing may be drawn."""


def plan_shares(sources: Sequence[MixtureSource], *, total: float | None, limits: Sequence[Limit]) -> list[Span]:
    """The mixture as it will be drawn, documents taken as small as water.

    `total` is what the stage draws in all, in the unit of the limits; None where nobody knows it, and caps then have
    no effect on the plan.
    """
    drawn = [0.0] * len(sources)
    spans: list[Span] = []
    for start, stop in pairwise([0.0, *turning_points(sources), 1.0]):
        now = start
        while now < stop:
            weights = [
                source.weight_at(now) if drawn[place] < limits[place].most else 0.0
                for place, source in enumerate(sources)
            ]
            whole = sum(weights)
            shares = [weight / whole if whole else 0.0 for weight in weights]
            until = stop
            if total:
                for share, taken, limit in zip(shares, drawn, limits, strict=True):
                    if share and limit.most < math.inf:
                        until = min(until, now + (limit.most - taken) / (share * total))
                for place, share in enumerate(shares):
                    rest = limits[place].most - drawn[place]
                    taken = share * total * (until - now)
                    drawn[place] = limits[place].most if share and taken >= rest * (1 - 1e-12) else drawn[place] + taken
            if until > now:
                spans.append(Span(now, until, shares))
            now = until
    return spans
