"""Where each question is answered several times: how often one of the answers, or all of them, are right."""

from collections import defaultdict

import numpy as np

from chanote.boards.models import Task
from chanote.boards.scores import ItemScores
from chanote.boards.statistics import Estimate, estimate_mean
from chanote.boards.statistics.estimate import is_binary
from chanote.boards.statistics.passing import pass_at_k, pass_every_k


def estimate_passing(task: Task, found: ItemScores) -> dict[str, Estimate]:
    """`pass@k` and `pass^k` at the task's `repeats`, and at half of them; empty where answers are not right or wrong.

    Questions of which an answer was left out are too. An answer without a score counts as wrong, as in the mean.
    """
    repeats = int(task.definition.get("repeats") or 1)
    scored = found.values[~np.isnan(found.values)]
    if repeats < 2 or not task.higher_is_better or not is_binary(scored):
        return {}
    answers: dict[str, list[float]] = defaultdict(list)
    clusters: dict[str, str] = {}
    values = np.nan_to_num(found.values, nan=0.0)
    for item, cluster, value, asked in zip(found.items, found.clusters, values, found.asked, strict=True):
        question = item.rpartition("#")[0] or item
        clusters[question] = cluster
        if asked:
            answers[question].append(float(value))
    whole = [question for question, given in answers.items() if len(given) == repeats]
    if not whole:
        return {}
    right = [sum(answers[question]) for question in whole]
    groups = [clusters[question] for question in whole]
    estimates = {}
    for k in sorted({max(2, repeats // 2), repeats}):
        for name, rate in (("pass@", pass_at_k), ("pass^", pass_every_k)):
            estimates[f"{name}{k}"] = estimate_mean(rate([repeats] * len(whole), right, k), clusters=groups)
    return estimates
