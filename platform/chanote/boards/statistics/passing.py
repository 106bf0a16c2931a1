"""Several samples of one question: pass@k, pass^k, the majority's answer, and how much more samples would help.

The question stays the unit. Estimating pass@k as 1 - (1 - p)^k from a mean p is biased and not done here.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray


def pass_at_k(samples: ArrayLike, right: ArrayLike, k: int) -> NDArray[np.float64]:
    """1 - C(n - c, k) / C(n, k) for each question: the chance that at least one of k samples is right.

    Unbiased (Chen et al. 2021, arXiv:2107.03374). Raises ValueError where a question has fewer than k samples.
    """
    n, c = _check(samples, right, k)
    return 1 - scipy.special.comb(n - c, k) / scipy.special.comb(n, k)


def pass_every_k(samples: ArrayLike, right: ArrayLike, k: int) -> NDArray[np.float64]:
    """pass^k = C(c, k) / C(n, k): the chance that all of k samples are right (Yao et al. 2024, arXiv:2406.12045)."""
    n, c = _check(samples, right, k)
    return scipy.special.comb(c, k) / scipy.special.comb(n, k)


def _check(samples: ArrayLike, right: ArrayLike, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n, c = np.asarray(samples, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if k < 1 or (n < k).any():
        raise ValueError(f"k is {k}, but a question has {int(n.min())} samples; choose k from 1 to that number")
    if ((c < 0) | (c > n)).any():
        raise ValueError("a question has more right samples than samples")
    return n, c


def majority_score(answers: Sequence[str], target: str) -> float:
    """maj@k of one question: 1 if the commonest answer is right; when m answers tie for it, 1/m if right is among."""
    counts = Counter(answers)
    most = max(counts.values(), default=0)
    tied = [answer for answer, count in counts.items() if count == most]
    return 1 / len(tied) if target in tied else 0.0


@dataclass(frozen=True)
class Spread:
    """Where the variance of a mean over questions comes from (Miller 2024, arXiv:2411.00640, section 3)."""

    between: float
    """Variance of the questions' true means."""
    within: float | None
    """Mean variance of one question's samples; None with one sample each, which hides it."""
    questions: int
    samples: int

    def error(self, samples: int | None = None) -> float:
        """Standard error of the mean with so many samples of each question: sqrt((between + within/K) / n)."""
        within = 0.0 if self.within is None else self.within / (samples or self.samples)
        return float(np.sqrt((self.between + within) / self.questions))


def split_variance(scores: NDArray[np.float64]) -> Spread:
    """Of scores (questions, samples): Var(mean) = [Var(x) + E(σ²)/K] / n; more samples lower the second part only."""
    questions, samples = scores.shape
    total = float(scores.mean(1).var(ddof=1))
    if samples == 1:
        return Spread(total, None, questions, 1)
    within = float(scores.var(axis=1, ddof=1).mean())
    return Spread(max(0.0, total - within / samples), within, questions, samples)
