"""Sign-flip permutation test of mean paired differences, whole clusters at a time, and the interval it inverts to.

scipy.stats.permutation_test flips single observations; here all items and samples of a cluster keep or change their
sign together, and many pairs of models that answered the same clusters share one draw of signs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chanote.boards.statistics.clustered import Floats, sum_by_cluster

RESAMPLES = 9_999
SEED = 20_261_121
"""Fixed, so that a page says the same every time it is read."""
_EXACT_UNITS = 13
_SLACK = 1e-9
"""Equal sums that differ by rounding count as equal."""
_CHUNK_CELLS = 4_000_000
"""Sign vectors times pairs held at once."""


@dataclass(frozen=True)
class SignTest:
    """Arrays with a value for each pair."""

    p: Floats
    """Two-sided, of a true difference of 0."""
    p_above: Floats
    """One-sided, of a true difference of -margin or less."""
    p_below: Floats
    """One-sided, of a true difference of +margin or more."""


@dataclass(frozen=True, eq=False)
class SignFlips:
    """Under "the true mean difference is δ", each cluster's sum of d - δ is as likely with the other sign.

    p(δ) = (1 + #{|T*| >= |T|}) / (1 + B) for T = Σ_c Σ_{i∈c} (d_i - δ); over all sign vectors where clusters are few.
    """

    sums: Floats
    """(P, C): differences summed by cluster, for each pair."""
    sizes: Floats
    """(P, C): number of items of each cluster, for each pair."""
    resamples: int = RESAMPLES
    seed: int = SEED

    @classmethod
    def of(cls, differences: Floats, clusters: NDArray[np.intp], resamples: int = RESAMPLES) -> "SignFlips":
        """One pair: its differences by item, and the cluster of each."""
        sizes = sum_by_cluster(np.ones_like(differences), clusters)
        return cls(sum_by_cluster(differences, clusters)[None], sizes[None], resamples)

    @property
    def complete(self) -> bool:
        """Few enough clusters that every sign vector is counted once."""
        return self.sums.shape[1] <= _EXACT_UNITS

    def p_values(self, difference: float = 0.0) -> Floats:
        """Two-sided p of the true mean difference being `difference`."""
        return self.test(difference, 0.0).p

    def test(self, difference: float = 0.0, margin: float = 0.0) -> SignTest:
        """Three questions in one pass over the sign vectors; with `margin` 0 one-sided about `difference`."""
        centres = (difference, difference - margin, difference + margin)
        totals, counts = self.sums.sum(1), self.sizes.sum(1)
        observed = [totals - centre * counts for centre in centres]
        extreme = np.zeros((3, totals.size))
        drawn = 0
        for flipped, sizes in self._flip():
            drawn += len(flipped)
            middle, above, below = (flipped - centre * sizes for centre in centres)
            extreme[0] += (np.abs(middle) >= np.abs(observed[0]) - _SLACK).sum(0)
            extreme[1] += (above >= observed[1] - _SLACK).sum(0)
            extreme[2] += (below <= observed[2] + _SLACK).sum(0)
        p = extreme / drawn if self.complete else (1 + extreme) / (1 + drawn)
        return SignTest(*p)

    def intervals(self, *, level: float = 0.95) -> tuple[Floats, Floats]:
        """Differences that the test does not reject at `level`; infinite where clusters are too few to reject any.

        For a sign vector with sums F, Z of differences and sizes and u = δ - mean > 0, |F - δZ| >= |T - δn| holds up
        to u = max(F'/(n + Z), -F'/(n - Z)), F' = F - mean·Z. The bound is an order statistic of these.
        """
        means = self.sums.sum(1) / self.sizes.sum(1)
        high, low = [], []
        for up, down in self._reach():
            # All signs equal: as extreme as what was seen, whatever the difference.
            always = np.isinf(up) | np.isinf(down)
            high.append(np.where(always, np.inf, np.maximum(up, -down)))
            low.append(np.where(always, np.inf, np.maximum(down, -up)))
        return means - self._find_bound(np.concatenate(low), level), means + self._find_bound(
            np.concatenate(high), level
        )

    def lower_bounds(self, *, level: float = 0.95) -> Floats:
        """The one-sided test does not reject differences above this; -inf where clusters are too few."""
        reach = np.concatenate([down for _, down in self._reach()])
        return self.sums.sum(1) / self.sizes.sum(1) - self._find_bound(reach, level)

    def _reach(self) -> Iterator[tuple[Floats, Floats]]:
        """F'/(n + Z) and F'/(n - Z) by sign vector and pair; inf where the divisor is 0."""
        counts = self.sizes.sum(1)
        means = self.sums.sum(1) / counts
        for flipped, sizes in self._flip():
            rest = flipped - means * sizes
            sides = (counts + sizes, counts - sizes)
            up, down = (
                np.divide(rest, side, out=np.full(rest.shape, np.inf), where=np.broadcast_to(side, rest.shape) > _SLACK)
                for side in sides
            )
            yield up, down

    def _find_bound(self, reach: Floats, level: float) -> Floats:
        """Smallest distance past which fewer than 1 - level of the sign vectors are as extreme; `reach` is (B, P)."""
        drawn = len(reach)
        # Past the k-th largest reach, k - 1 vectors remain: rejected when that share falls below 1 - level.
        tail = (1 - level) * drawn if self.complete else (1 - level) * (1 + drawn) - 1
        place = int(np.ceil(tail - _SLACK))
        if place < 1:
            return np.full(reach.shape[1], np.inf)
        return np.maximum(np.partition(reach, drawn - place, axis=0)[drawn - place], 0.0)

    def _flip(self) -> Iterator[tuple[Floats, Floats]]:
        """Signed sums of differences and of sizes, (vectors, P), a part of the vectors at a time."""
        units = self.sums.shape[1]
        total = 2**units if self.complete else self.resamples
        step = max(1, _CHUNK_CELLS // max(len(self.sums), units))
        same = bool((self.sizes == self.sizes[:1]).all())
        draw = np.random.default_rng(self.seed)
        for start in range(0, total, step):
            stop = min(total, start + step)
            if self.complete:
                signs = 1.0 - 2 * ((np.arange(start, stop)[:, None] >> np.arange(units)) & 1)
            else:
                signs = 1.0 - 2 * draw.integers(0, 2, (stop - start, units), dtype=np.int8)
            sizes = signs @ (self.sizes[:1] if same else self.sizes).T
            yield signs @ self.sums.T, sizes
