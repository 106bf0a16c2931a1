"""Strengths from battles between two answers, with ties: Rao and Kupper 1967 (JASA 62:194) on Bradley and Terry 1952.

P(i beats j) = σ(β_i - β_j - η), P(tie) = 1 - P(i beats j) - P(j beats i), η >= 0, Σβ = 0. Uncertainty comes from
drawing prompts anew, never battles: the battles of one prompt are not independent.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from chanote.boards.statistics.clustered import Floats
from chanote.boards.statistics.permutation import SEED

_RIDGE = 1e-2
"""Of a prior N(0, 100) on every strength: finite where one model wins all, of no weight elsewhere."""
_STEPS = 60
_LARGEST_STEP = 1.0


@dataclass(frozen=True)
class Battle:
    prompt: str
    a: str
    b: str
    outcome: float
    """1 when a won, 0 when b did, one half for a tie."""


@dataclass(frozen=True)
class Strength:
    value: float
    """β, in logits above the mean model."""
    low: float
    high: float
    rank: tuple[int, int]
    """Places that simultaneous intervals of all differences allow, with 95 % for the whole table."""


@dataclass(frozen=True)
class Ladder:
    strengths: dict[str, Strength]
    """From strongest to weakest."""
    tie: float
    """η: 0 where nothing ties."""


def rate_battles(battles: Sequence[Battle], *, resamples: int = 500, level: float = 0.95, seed: int = SEED) -> Ladder:
    """Fit strengths and bound them by drawing prompts anew.

    Rank intervals come from all pairwise differences together: the largest |difference - estimate| / spread over the
    pairs of a draw bounds all of them at once (max-t). Raises ValueError when the battles do not connect all models.
    """
    names = sorted({name for one in battles for name in (one.a, one.b)})
    _check_connected(battles, names)
    place = {name: number for number, name in enumerate(names)}
    prompts = {prompt: number for number, prompt in enumerate(dict.fromkeys(one.prompt for one in battles))}
    kinds = {kind: number for number, kind in enumerate(dict.fromkeys((one.a, one.b, one.outcome) for one in battles))}
    counts = np.zeros((len(prompts), len(kinds)))
    for one in battles:
        counts[prompts[one.prompt], kinds[one.a, one.b, one.outcome]] += 1
    design = _Design(
        first=np.array([place[a] for a, _, _ in kinds]),
        second=np.array([place[b] for _, b, _ in kinds]),
        outcome=np.array([outcome for _, _, outcome in kinds]),
        models=len(names),
    )
    beta, tie = design.fit(counts.sum(0))
    draw = np.random.default_rng(seed)
    weights = draw.multinomial(len(prompts), np.full(len(prompts), 1 / len(prompts)), size=resamples)
    drawn = np.stack([design.fit(row @ counts, start=(beta, tie))[0] for row in weights])
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(drawn, tails, axis=0)
    ranks = _rank(beta, drawn, level)
    order = np.argsort(-beta, kind="stable")
    strengths = {
        names[k]: Strength(float(beta[k]), float(min(low[k], beta[k])), float(max(high[k], beta[k])), ranks[k])
        for k in order
    }
    return Ladder(strengths, tie)


@dataclass(frozen=True)
class _Design:
    """Kinds of battle: who met whom, and what came of it."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    outcome: Floats
    models: int

    def fit(self, counts: Floats, start: tuple[Floats, float] | None = None) -> tuple[Floats, float]:
        """Most likely strengths and tie parameter for so many battles of each kind, by Newton's method.

        Free parameters are β (centred by the ridge, which holds their mean at 0) and log η where there are ties.
        """
        tied = self.outcome == 0.5
        ties = bool((counts[tied] > 0).any())
        free = self.models + ties
        beta = np.zeros(self.models) if start is None else start[0].copy()
        log_tie = np.log(0.5) if start is None or start[1] <= 0 else np.log(start[1])
        at = np.append(beta, log_tie)[:free]
        value = self._value(at, counts, ties)
        for _ in range(_STEPS):
            slope, curve = self._derive(at, counts, ties)
            step = np.linalg.solve(curve, slope)
            step *= min(1.0, _LARGEST_STEP / max(1e-12, float(np.abs(step).max())))
            scale = 1.0
            while scale > 1e-6 and self._value(at + scale * step, counts, ties) < value - 1e-12:
                scale /= 2
            at = at + scale * step
            value = self._value(at, counts, ties)
            if np.abs(scale * step).max() < 1e-8:
                break
        beta = at[: self.models] - at[: self.models].mean()
        return beta, float(np.exp(at[-1])) if ties else 0.0

    def _chances(self, at: Floats, ties: bool) -> tuple[Floats, Floats, Floats, float]:
        tie = float(np.exp(at[-1])) if ties else 0.0
        gap = at[self.first] - at[self.second]
        return expit(gap - tie), expit(-gap - tie), gap, tie

    def _value(self, at: Floats, counts: Floats, ties: bool) -> float:
        win, lose, _, _ = self._chances(at, ties)
        chance = np.select([self.outcome == 1, self.outcome == 0], [win, lose], 1 - win - lose)
        return float(counts @ np.log(np.maximum(chance, 1e-300)) - _RIDGE / 2 * np.square(at[: self.models]).sum())

    def _derive(self, at: Floats, counts: Floats, ties: bool) -> tuple[Floats, Floats]:
        """Slope, and Fisher's expected curvature: positive definite wherever the slope is taken."""
        win, lose, _, tie = self._chances(at, ties)
        tied = np.maximum(1 - win - lose, 1e-12)
        win_slope, lose_slope = win * (1 - win), lose * (1 - lose)
        # Rows: derivative of the log chance of each outcome by gap and by η.
        by_gap = np.stack([1 - win, -(1 - lose), (lose_slope - win_slope) / tied])
        by_tie = np.stack([-(1 - win), -(1 - lose), (win_slope + lose_slope) / tied])
        which = np.select([self.outcome == 1, self.outcome == 0], [0, 1], 2)
        chosen = np.arange(which.size)
        met = counts  # battles of each kind; expected information needs only who met whom
        chances = np.stack([win, lose, tied if ties else np.zeros_like(tied)])
        size = self.models + ties
        slope, curve = np.zeros(size), np.zeros((size, size))
        np.add.at(slope, self.first, counts * by_gap[which, chosen])
        np.add.at(slope, self.second, -counts * by_gap[which, chosen])
        gap_gap = met * (chances * by_gap**2).sum(0)
        for one, other, sign in ((self.first, self.first, 1), (self.second, self.second, 1)):
            np.add.at(curve, (one, other), sign * gap_gap)
        np.add.at(curve, (self.first, self.second), -gap_gap)
        np.add.at(curve, (self.second, self.first), -gap_gap)
        slope[: self.models] -= _RIDGE * at[: self.models]
        curve[range(self.models), range(self.models)] += _RIDGE
        if ties:
            slope[-1] = tie * (counts * by_tie[which, chosen]).sum()
            curve[-1, -1] = tie**2 * (met * (chances * by_tie**2).sum(0)).sum() + 1e-9
            mixed = tie * met * (chances * by_gap * by_tie).sum(0)
            np.add.at(curve, (self.first, np.full_like(self.first, -1)), mixed)
            np.add.at(curve, (self.second, np.full_like(self.second, -1)), -mixed)
            curve[-1, : self.models] = curve[: self.models, -1]
        return slope, curve


def _rank(beta: Floats, drawn: Floats, level: float) -> list[tuple[int, int]]:
    gaps = beta[:, None] - beta
    spread = np.sqrt(np.square(drawn[:, :, None] - drawn[:, None, :] - gaps).mean(0))
    np.fill_diagonal(spread, 1.0)
    spread = np.maximum(spread, 1e-12)
    largest = (np.abs(drawn[:, :, None] - drawn[:, None, :] - gaps) / spread).max((1, 2))
    sure = gaps > np.quantile(largest, level) * spread
    count = len(beta)
    return [(1 + int(sure[:, k].sum()), count - int(sure[k].sum())) for k in range(count)]


def _check_connected(battles: Sequence[Battle], names: Sequence[str]) -> None:
    met: dict[str, set[str]] = {name: set() for name in names}
    for one in battles:
        met[one.a].add(one.b)
        met[one.b].add(one.a)
    reached, waiting = {names[0]} if names else set(), deque(names[:1])
    while waiting:
        for other in met[waiting.popleft()] - reached:
            reached.add(other)
            waiting.append(other)
    if len(reached) < max(2, len(names)):
        missing = sorted(set(names) - reached)
        raise ValueError(
            f"no battle connects {', '.join(missing) or 'two models'} with the others: strengths cannot be compared"
        )
