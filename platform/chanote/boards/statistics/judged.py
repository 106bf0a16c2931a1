"""A rate that a fallible judge gave, put right by what people said of a part of the items."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy


@dataclass(frozen=True)
class Corrected:
    value: float
    error: float
    low: float
    high: float


def predict_with_labels(
    judged: Sequence[float], judged_of_labelled: Sequence[float], labels: Sequence[float], *, level: float = 0.95
) -> Corrected:
    """Prediction-powered mean (Angelopoulos et al. 2023, arXiv:2301.09633): mean f(all) + mean(y - f) of the labelled.

    Var = var(f)/N + var(y - f)/m. `judged` are the judge's scores of the N items that nobody labelled. Unbiased however
    bad the judge is; a judge that adds nothing only adds its variance.
    """
    f, f_m, y = (np.asarray(values, dtype=np.float64) for values in (judged, judged_of_labelled, labels))
    if f_m.size != y.size or y.size < 2 or f.size < 2:
        raise ValueError(
            f"{y.size} labels for {f_m.size} judged items: give a label for each, and at least two of both"
        )
    value = float(f.mean() + (y - f_m).mean())
    error = math.sqrt(f.var(ddof=1) / f.size + (y - f_m).var(ddof=1) / y.size)
    return _bound(value, error, level)


def correct_rate(
    rate: float,
    count: int,
    *,
    sensitivity: float,
    positives: int,
    specificity: float,
    negatives: int,
    level: float = 0.95,
) -> Corrected | None:
    """Rogan and Gladen 1978 (American Journal of Epidemiology 107:71): p = (p̂ + q0 - 1) / (q1 + q0 - 1), within 0 to 1.

    Var ≈ [p̂(1-p̂)/n + p² q1(1-q1)/m1 + (1-p)² q0(1-q0)/m0] / (q1 + q0 - 1)². `positives` and `negatives` are the
    items that people called right and wrong, on which sensitivity q1 and specificity q0 were measured. None where the
    judge is no better than a coin (q1 + q0 <= 1).
    """
    gain = sensitivity + specificity - 1
    if gain <= 0:
        return None
    value = min(1.0, max(0.0, (rate + specificity - 1) / gain))
    variance = (
        rate * (1 - rate) / count
        + value**2 * sensitivity * (1 - sensitivity) / positives
        + (1 - value) ** 2 * specificity * (1 - specificity) / negatives
    )
    found = _bound(value, math.sqrt(variance) / gain, level)
    return Corrected(found.value, found.error, max(0.0, found.low), min(1.0, found.high))


def _bound(value: float, error: float, level: float) -> Corrected:
    half = float(scipy.special.ndtri(0.5 + level / 2)) * error
    return Corrected(value, error, value - half, value + half)
