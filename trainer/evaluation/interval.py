"""The interval printed beside a mean on the command line. Boards compare models with more than this."""

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import NormalDist

from scipy.stats import t as student

from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample


def mean_interval(task: TaskSpec, samples: Sequence[ScoredSample]) -> tuple[float, float] | None:
    """95 % interval of the mean as `mean_score` counts it; None below two independent items.

    Wilson's for right-or-wrong items that stand on their own, else Student's t with clustered standard error
    (Miller 2024, with C/(C-1)).
    """
    if task.higher_is_better:
        scores = [sample.score or 0.0 for sample in samples]
        clusters = [sample.cluster or str(n) for n, sample in enumerate(samples)]
    else:
        scores = [sample.score for sample in samples if sample.score is not None]
        clusters = [sample.cluster or str(n) for n, sample in enumerate(samples) if sample.score is not None]
    if len(set(clusters)) < 2:
        return None
    if not task.x_stats.cluster and set(scores) <= {0.0, 1.0}:
        return _wilson(sum(scores), len(scores))
    mean = math.fsum(scores) / len(scores)
    sums: dict[str, float] = defaultdict(float)
    for score, cluster in zip(scores, clusters, strict=True):
        sums[cluster] += score - mean
    count = len(sums)
    error = math.sqrt(count / (count - 1) * math.fsum(value**2 for value in sums.values())) / len(scores)
    half = float(student.ppf(0.975, count - 1)) * error
    return mean - half, mean + half


def _wilson(right: float, count: int) -> tuple[float, float]:
    z = NormalDist().inv_cdf(0.975)
    share = right / count
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return centre - half, centre + half
