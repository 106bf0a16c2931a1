"""Many paired comparisons in one pass: each test over arrays with one place per pair of models.

A board of fifty models has 1,225 pairs on every task; one by one they would take minutes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import NDArray

from chanote.boards.statistics.clustered import SMALL_CLUSTERS, SMALL_ITEMS, Floats
from chanote.boards.statistics.mcnemar import exact_mcnemar
from chanote.boards.statistics.permutation import RESAMPLES, SEED, SignFlips
from chanote.boards.statistics.tango import tango_equivalence_p, tango_interval

Places = NDArray[np.intp]

_BLOCK_CELLS = 2_000_000
"""Pairs times items held at once."""
_UNSURE = 0.1
"""A first draw that puts a p above this is final: no correction can make it smaller."""


@dataclass(frozen=True)
class PairTests:
    """Arrays with a place for each pair: A less B. NaN where a pair has fewer than two independent items."""

    count: NDArray[np.int64]
    units: NDArray[np.int64]
    delta: Floats
    error: Floats
    variance: Floats
    """Of one item's difference, clusters counted in: n times the squared error, or a cautious floor."""
    binary: NDArray[np.bool_]
    only_a: NDArray[np.int64]
    only_b: NDArray[np.int64]
    low: Floats
    high: Floats
    p: Floats
    p_equivalence: Floats
    method: list[str]


@dataclass(frozen=True)
class _Differences:
    """Of one block of pairs."""

    count: NDArray[np.int64]
    units: NDArray[np.int64]
    delta: Floats
    error: Floats
    binary: NDArray[np.bool_]
    only_a: NDArray[np.int64]
    only_b: NDArray[np.int64]
    sums: Floats
    """(P, C)"""
    sizes: Floats
    """(P, C)"""


def examine_pairs(
    values: Floats,
    counted: NDArray[np.bool_],
    clusters: Places,
    pairs: tuple[Places, Places],
    *,
    margin: float,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> PairTests:
    """Compare rows `pairs[0][k]` and `pairs[1][k]` of `values` (M, n) on the items that `counted` (M, n) has of both.

    `clusters` (n) numbers the cluster of each item from 0 without gaps.

    Right or wrong, each item on its own: exact McNemar test, Tango's score interval. In clusters or graded: Student's
    t on paired differences with the clustered standard error, but below 300 items or 30 clusters the sign-flip
    permutation of whole clusters and the interval it inverts to.
    """
    blocks = [
        _test_block(block, clusters, margin=margin, resamples=resamples, seed=seed)
        for block in _take_blocks(values, counted, clusters, pairs)
    ]
    joined = {
        name: np.concatenate([getattr(block, name) for block in blocks])
        for name in PairTests.__dataclass_fields__
        if name != "method"
    }
    return PairTests(**joined, method=[name for block in blocks for name in block.method])


def _take_blocks(
    values: Floats, counted: NDArray[np.bool_], clusters: Places, pairs: tuple[Places, Places]
) -> Iterator[_Differences]:
    alone = clusters.size == 0 or int(clusters.max()) + 1 == clusters.size
    if not alone:
        order = np.argsort(clusters, kind="stable")
        values, counted, clusters = values[:, order], counted[:, order], clusters[order]
    starts = np.flatnonzero(np.diff(clusters, prepend=-1))
    graded = counted & (values != 0) & (values != 1)
    any_graded = bool(graded.any())
    step = max(1, _BLOCK_CELLS // max(1, values.shape[1]))
    for start in range(0, max(1, pairs[0].size), step):
        a, b = (side[start : start + step] for side in pairs)
        both = counted[a] & counted[b]
        differences = np.where(both, values[a] - values[b], 0.0)
        count = both.sum(1)
        delta = _divide(differences.sum(1), count)
        sums = differences if alone else np.add.reduceat(differences, starts, axis=1)
        sizes = both.astype(np.float64)
        sizes = sizes if alone else np.add.reduceat(sizes, starts, axis=1)
        units = (sizes > 0).sum(1)
        squares = np.square(sums - delta[:, None] * sizes).sum(1)
        yield _Differences(
            count=count,
            units=units,
            delta=delta,
            error=np.sqrt(_divide(units * squares, units - 1)) / np.maximum(count, 1),
            binary=~((graded[a] | graded[b]) & both).any(1) if any_graded else np.ones(a.size, dtype=bool),
            only_a=(differences > 0).sum(1),
            only_b=(differences < 0).sum(1),
            sums=sums,
            sizes=sizes,
        )


def _divide(numerator: Floats, denominator: NDArray[np.int64]) -> Floats:
    return np.divide(numerator, denominator, out=np.full(denominator.shape, np.nan), where=np.asarray(denominator) > 0)


def _test_block(block: _Differences, clusters: Places, *, margin: float, resamples: int, seed: int) -> PairTests:
    size = block.count.size
    found = PairTests(
        count=block.count,
        units=block.units,
        delta=block.delta,
        error=block.error,
        variance=block.error**2 * block.count,
        binary=block.binary,
        only_a=block.only_a,
        only_b=block.only_b,
        low=np.full(size, np.nan),
        high=np.full(size, np.nan),
        p=np.full(size, np.nan),
        p_equivalence=np.full(size, np.nan),
        method=["undefined"] * size,
    )
    defined = block.units >= 2
    single = defined & block.binary & (block.units == block.count)
    small = defined & ~single & ((block.count < SMALL_ITEMS) | (block.units < SMALL_CLUSTERS))
    _test_binary(found, np.flatnonzero(single), margin)
    for group in _split_small(block, np.flatnonzero(small)):
        _test_small(found, block, group, margin, resamples=resamples, seed=seed)
    _test_large(found, np.flatnonzero(defined & ~single & ~small), margin)
    return found


def _test_binary(found: PairTests, where: Places, margin: float) -> None:
    if not where.size:
        return
    counts = found.only_a[where], found.only_b[where], found.count[where]
    found.p[where] = exact_mcnemar(*counts[:2])
    found.p_equivalence[where] = tango_equivalence_p(*counts, margin=margin)
    found.low[where], found.high[where] = tango_interval(*counts)
    # One more discordant item than seen: no disagreement so far does not mean that there never is any.
    floor = (counts[0] + counts[1] + 1) / (counts[2] + 2) - found.delta[where] ** 2
    found.variance[where] = np.maximum(found.variance[where], floor)
    for place in where:
        found.method[place] = "exact McNemar, Tango interval"


def _split_small(block: _Differences, where: Places) -> Iterator[Places]:
    """Pairs that share their clusters together: signs are drawn for the clusters that a pair has, no others."""
    groups: dict[bytes, list[int]] = {}
    for place in where.tolist():
        groups.setdefault(np.packbits(block.sizes[place] > 0).tobytes(), []).append(place)
    for group in groups.values():
        yield np.array(group, dtype=np.intp)


def _test_small(
    found: PairTests, block: _Differences, where: Places, margin: float, *, resamples: int, seed: int
) -> None:
    held = block.sizes[where[0]] > 0
    flips = SignFlips(block.sums[where][:, held], block.sizes[where][:, held], min(resamples, RESAMPLES), seed)
    first = flips.test(0.0, margin)
    p, equivalence = first.p, np.maximum(first.p_above, first.p_below)
    low, high = flips.intervals()
    unsure = np.flatnonzero((p < _UNSURE) | (equivalence < _UNSURE))
    if resamples > RESAMPLES and unsure.size and not flips.complete:
        # A correction for many pairs needs a finer p than the first draw gives.
        finer = replace(flips, sums=flips.sums[unsure], sizes=flips.sizes[unsure], resamples=resamples)
        second = finer.test(0.0, margin)
        p[unsure], equivalence[unsure] = second.p, np.maximum(second.p_above, second.p_below)
    binary = np.flatnonzero(block.binary[where])
    if binary.size:
        # Few discordant items make the permutation look too sure: it is held to what items alone could show.
        counts = tuple(values[where[binary]] for values in (block.only_a, block.only_b, block.count))
        alone_low, alone_high = tango_interval(*counts)
        low[binary], high[binary] = np.minimum(low[binary], alone_low), np.maximum(high[binary], alone_high)
        equivalence[binary] = np.maximum(equivalence[binary], tango_equivalence_p(*counts, margin=margin))
    if held.sum() < SMALL_CLUSTERS:
        equivalence[~block.binary[where]] = 1.0
    found.p[where], found.p_equivalence[where] = p, equivalence
    found.low[where], found.high[where] = low, high
    for place in where:
        found.method[place] = f"sign-flip permutation of {found.units[place]} units"


def _test_large(found: PairTests, where: Places, margin: float) -> None:
    if not where.size:
        return
    delta, error, freedom = found.delta[where], found.error[where], found.units[where] - 1
    certain = error == 0
    spread = np.where(certain, 1.0, error)
    p = 2 * scipy.special.stdtr(freedom, -np.abs(delta) / spread)
    outside = np.maximum(
        scipy.special.stdtr(freedom, -(delta + margin) / spread),
        scipy.special.stdtr(freedom, (delta - margin) / spread),
    )
    half = scipy.special.stdtrit(freedom, 0.975) * error
    found.p[where] = np.where(certain, delta == 0, p)
    found.p_equivalence[where] = np.where(certain, np.abs(delta) >= margin, outside)
    found.low[where], found.high[where] = delta - half, delta + half
    for place in where:
        alone = found.units[place] == found.count[place]
        found.method[place] = "paired t" if alone else "paired t, clustered"
