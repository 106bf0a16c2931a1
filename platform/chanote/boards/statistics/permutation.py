"""Sign-flip permutation test of a mean paired difference, whole clusters at a time, and the interval it inverts to."""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from chanote.boards.statistics.clustered import Floats, sum_by_cluster

RESAMPLES = 9_999
SEED = 20_261_121
"""Fixed, so that a page says the same every time it is read."""
_EXACT_UNITS = 13
_SLACK = 1e-9
"""Equal sums that differ by rounding count as equal."""


@lru_cache(maxsize=4)
def _draw_signs(units: int, resamples: int, seed: int) -> NDArray[np.float32]:
    """Sign vectors by row: all of them where they are few, else a random draw."""
    if units <= _EXACT_UNITS:
        grid = (np.arange(2**units)[:, None] >> np.arange(units)) & 1
        return (1 - 2 * grid).astype(np.float32)
    return (1 - 2 * np.random.default_rng(seed).integers(0, 2, (resamples, units), dtype=np.int8)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class SignFlip:
    """Under "the true mean difference is δ", each cluster's sum of d - δ is as likely with the other sign.

    p(δ) = (1 + #{|T*| >= |T|}) / (1 + B) for T = Σ_c Σ_{i∈c} (d_i - δ); with few clusters over all sign vectors.
    """

    differences: Floats
    clusters: NDArray[np.intp]
    resamples: int = RESAMPLES
    seed: int = SEED

    @cached_property
    def _sums(self) -> Floats:
        return sum_by_cluster(self.differences, self.clusters)

    @cached_property
    def _flipped(self) -> tuple[Floats, Floats, bool]:
        """Signed sums of differences and of cluster sizes per sign vector; whether these are all sign vectors."""
        sizes = sum_by_cluster(np.ones_like(self.differences), self.clusters)
        signs = _draw_signs(sizes.size, self.resamples, self.seed)
        return signs @ self._sums, signs @ sizes, sizes.size <= _EXACT_UNITS

    @property
    def units(self) -> int:
        """Clusters, each of which keeps or changes its sign as a whole."""
        return self._sums.size

    def p_value(self, difference: float = 0.0) -> float:
        """Two-sided p of the true mean difference being `difference`."""
        flipped, observed, complete = self._at(difference)
        return _share(np.abs(flipped) >= abs(observed) - _SLACK, complete=complete)

    def one_sided_p(self, difference: float, *, above: bool) -> float:
        """p of the true mean difference being at most (`above`) or at least `difference`."""
        flipped, observed, complete = self._at(difference)
        extreme = flipped >= observed - _SLACK if above else flipped <= observed + _SLACK
        return _share(extreme, complete=complete)

    def interval(self, *, level: float = 0.95) -> tuple[float, float]:
        """Differences that the test does not reject at `level`; infinite where clusters are too few to reject any."""
        return self._bound(-1.0, level), self._bound(1.0, level)

    def _at(self, difference: float) -> tuple[Floats, float, bool]:
        sums, sizes, complete = self._flipped
        return sums - difference * sizes, float(self._sums.sum()) - difference * self.differences.size, complete

    def _bound(self, direction: float, level: float) -> float:
        middle = float(self.differences.mean())
        tail = 1 - level

        def rejected(distance: float) -> bool:
            return self.p_value(middle + direction * distance) < tail

        spread = float(np.ptp(self.differences)) or 1e-9
        far = 4 * spread
        if not rejected(far):
            return direction * math.inf
        near = 0.0
        for _ in range(40):
            half = (near + far) / 2
            near, far = (near, half) if rejected(half) else (half, far)
        return middle + direction * far


def _share(extreme: NDArray[np.bool_], *, complete: bool) -> float:
    count = int(extreme.sum())
    return count / extreme.size if complete else (1 + count) / (1 + extreme.size)
