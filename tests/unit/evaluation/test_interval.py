"""The command line's interval says the same as the boards do."""

import numpy as np
import pytest

from chanote.boards.statistics import estimate_mean
from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample
from trainer.evaluation.interval import mean_interval

SHARE = TaskSpec(task="t", dataset="d", output_type="generate_until", metric="exact_match")
BITS = TaskSpec(task="t", dataset="d", output_type="loglikelihood_rolling", metric="perplexity")


def sample(number, score, cluster=""):
    return ScoredSample(item=str(number), cluster=cluster, prompt="", output="", target="", score=score, status="ok")


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("kind", ["mixed", "right", "wrong", "graded"])
def test_the_interval_is_that_of_the_boards(kind, clustered):
    draw = np.random.default_rng(5)
    scores = {
        "mixed": draw.integers(0, 2, 60).astype(float),
        "right": np.ones(60),
        "wrong": np.zeros(60),
        "graded": draw.random(60),
    }[kind].tolist()
    clusters = [f"law {n // 6}" if clustered else "" for n in range(60)]
    task = BITS if kind == "graded" else SHARE
    got = mean_interval(task, [sample(n, s, c) for n, (s, c) in enumerate(zip(scores, clusters, strict=True))])
    board = estimate_mean(scores, clusters=clusters)
    assert got == (pytest.approx(board.low), pytest.approx(board.high))


def test_an_unscored_item_is_wrong_or_left_out():
    samples = [sample(0, 1.0), sample(1, None), sample(2, 1.0)]
    assert mean_interval(SHARE, samples) == mean_interval(SHARE, [sample(0, 1.0), sample(1, 0.0), sample(2, 1.0)])
    assert mean_interval(BITS, [sample(0, 1.1), sample(1, None)]) is None
