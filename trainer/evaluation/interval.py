"""The interval printed beside a mean on the command line. Boards compare models with more than this."""

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import NormalDist

from scipy.stats import t as student

from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample
from trainer.evaluation.evaluate import counted_samples


def mean_interval(task: TaskSpec, samples: Sequence[ScoredSample]) -> tuple[float, float] | None:
    """95 % interval of the mean as `mean_score` counts it; None below two independent items.

    Wilson's for right-or-wrong items; in clusters with the effective number of items n · SE_iid² / SE_clustered² and
    Student's quantile (Korn and Graubard 1998). Graded scores: Student's t with the clustered standard error (Miller
    2024, with C/(C-1)).
    """
    counted = counted_samples(task, samples)
    return interval_of([sample.score or 0.0 for sample in counted], [sample.cluster for sample in counted])


def interval_of(scores: Sequence[float], named: Sequence[str]) -> tuple[float, float] | None:
    """Of the mean of these scores; `named`: the cluster of each, empty for one that stands on its own."""
    clusters = [name or f"item {number}" for number, name in enumerate(named)]
    units, count = len(set(clusters)), len(scores)
    if units < 2:
        return None
    mean = math.fsum(scores) / count
    error = _standard_error(scores, clusters, mean)
    quantile = float(student.ppf(0.975, units - 1))
    if not set(scores) <= {0.0, 1.0}:
        return mean - quantile * error, mean + quantile * error
    if units == count:
        return _wilson(mean, count, NormalDist().inv_cdf(0.975))
    alone = mean * (1 - mean) / (count - 1)
    effective = units if alone == 0 else count * min(1.0, alone / error**2) if error > 0 else count
    return _wilson(mean, effective, quantile)


def _standard_error(scores: Sequence[float], clusters: Sequence[str], mean: float) -> float:
    """sqrt(C/(C-1) · Σ_c (Σ_{i in c} (s_i - mean))²) / n."""
    sums: dict[str, float] = defaultdict(float)
    for score, cluster in zip(scores, clusters, strict=True):
        sums[cluster] += score - mean
    return math.sqrt(len(sums) / (len(sums) - 1) * math.fsum(value**2 for value in sums.values())) / len(scores)


def _wilson(rate: float, count: float, z: float) -> tuple[float, float]:
    scale = 1 + z**2 / count
    centre = (rate + z**2 / (2 * count)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / count + z**2 / (4 * count**2))
    # At the ends the bound is exact; rounding would put it a hair outside.
    return (0.0 if rate == 0 else centre - half), (1.0 if rate == 1 else centre + half)
