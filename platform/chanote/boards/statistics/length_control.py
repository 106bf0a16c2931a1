"""Win rate as it would be if both answers were equally long.

Dubois et al. 2024 (arXiv:2404.04475), the length-controlled AlpacaEval: a logistic model of the judge's preference with
a term for the difference in length, which is then set to zero. Their standard error leaves out that the coefficients
are estimated; here the whole fit is drawn anew over prompts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from chanote.boards.statistics.clustered import Floats
from chanote.boards.statistics.permutation import SEED

_RIDGE = 1e-3
"""Pull of every coefficient towards 0: keeps the fit finite when length separates all preferences."""
_STEPS = 40


@dataclass(frozen=True)
class LengthControlled:
    win_rate: float
    """Share of prompts won, ties as half, with lengths as they are."""
    controlled: float
    """The same with lengths made equal."""
    low: float
    high: float
    length_effect: float
    """φ: how far the judge leans to the longer answer, in logits for one (squashed) deviation."""


def control_length(
    preferences: Floats,
    lengths: Floats,
    baseline_lengths: Floats,
    difficulty: Floats | None = None,
    *,
    resamples: int = 500,
    level: float = 0.95,
    seed: int = SEED,
) -> LengthControlled:
    """P(model preferred | prompt x) = σ(θ + φ tanh(Δlength / sd) + ψ γ_x); controlled = mean of σ(θ + ψ γ_x).

    `preferences` are the judge's, from 0 to 1; `difficulty` γ_x says how hard a prompt is for everybody.
    """
    gap = lengths - baseline_lengths
    spread = float(gap.std())
    columns = [np.ones_like(gap), np.tanh(gap / spread) if spread > 0 else np.zeros_like(gap)]
    if difficulty is not None:
        columns.append(difficulty)
    design = np.stack(columns, axis=1)
    level_design = design.copy()
    level_design[:, 1] = 0.0
    once = np.ones((1, gap.size))
    fitted = _fit(design, preferences, once)[0]
    draw = np.random.default_rng(seed)
    weights = draw.multinomial(gap.size, np.full(gap.size, 1 / gap.size), size=resamples).astype(np.float64)
    drawn = _fit(design, preferences, weights)
    rates = (expit(drawn @ level_design.T) * weights).sum(1) / gap.size
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return LengthControlled(
        win_rate=float(preferences.mean()),
        controlled=float(expit(level_design @ fitted).mean()),
        low=float(low),
        high=float(high),
        length_effect=float(fitted[1]),
    )


def _fit(design: Floats, preferences: Floats, weights: Floats) -> NDArray[np.float64]:
    """Weighted logistic regressions by Newton's method, one for each row of `weights` (B, n): coefficients (B, k)."""
    size = design.shape[1]
    found = np.zeros((len(weights), size))
    ridge = _RIDGE * np.eye(size)
    for _ in range(_STEPS):
        chance = expit(found @ design.T)
        slope = (weights * (preferences - chance)) @ design - _RIDGE * found
        curve = np.einsum("bn,nk,nl->bkl", weights * chance * (1 - chance), design, design, optimize=True) + ridge
        step = np.linalg.solve(curve, slope[..., None])[..., 0]
        found += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    return found
