"""Boards under a known truth: false claims stay rare, real differences are found, intervals cover."""

import math

import numpy as np
import pytest

from chanote.boards.statistics import Scores, Verdict, compare, compare_family
from chanote.boards.statistics.permutation import SignFlip
from chanote.boards.statistics.tango import tango_interval

CLAIMS = {Verdict.A_BETTER, Verdict.B_BETTER}


def upper(level, repetitions):
    """A rate of `level` is seen above this once in a thousand times."""
    return level + 3.1 * math.sqrt(level * (1 - level) / repetitions)


def test_a_board_of_equal_models_awards_a_badge_at_most_once_in_twenty():
    draw = np.random.default_rng(2026)
    repetitions, wrong = 2000, 0
    for _ in range(repetitions):
        easiness = draw.random(60)
        models = {str(m): (draw.random(60) < easiness).astype(float) for m in range(3)}
        family = compare_family({m: Scores(dict(enumerate(s.tolist()))) for m, s in models.items()})
        wrong += any(one.verdict in CLAIMS for one in family.values())
    assert wrong / repetitions <= upper(0.05, repetitions)


@pytest.mark.parametrize("graded", [False, True])
def test_clusters_of_equal_models_are_not_taken_for_a_difference(graded):
    draw = np.random.default_rng(7)
    repetitions, wrong, naive = 300, 0, 0
    laws = np.repeat(np.arange(20), 5)
    for _ in range(repetitions):
        shared = np.repeat(draw.normal(0, 1, (2, 20)), 5, axis=1)
        scores = shared + draw.normal(0, 0.3, (2, 100))
        a, b = scores if graded else (scores > 0).astype(float)
        wrong += compare(a, b, clusters=laws.tolist(), resamples=999).verdict in CLAIMS
        naive += compare(a, b, resamples=999).verdict in CLAIMS
    assert wrong / repetitions <= upper(0.05, repetitions)
    assert naive / repetitions > 0.2


def test_a_true_difference_as_large_as_detectable_is_found_four_times_in_five():
    draw = np.random.default_rng(11)
    repetitions, found = 1000, 0
    true = 2.8 * math.sqrt(0.2 / 541)
    for _ in range(repetitions):
        kinds = draw.choice(3, size=541, p=[0.1 + true / 2, 0.1 - true / 2, 0.8])
        found += compare((kinds != 1).astype(float), (kinds != 0).astype(float)).verdict is Verdict.A_BETTER
    # The exact test is a little cautious: its power lies below the normal formula's 80 %.
    assert 0.72 <= found / repetitions <= 0.84


def test_models_at_the_margin_are_called_equivalent_at_most_once_in_twenty():
    draw = np.random.default_rng(13)
    repetitions, wrong = 1000, 0
    for _ in range(repetitions):
        kinds = draw.choice(3, size=2000, p=[0.035, 0.015, 0.95])
        one = compare((kinds != 1).astype(float), (kinds != 0).astype(float), margin=0.02)
        wrong += one.verdict is Verdict.EQUIVALENT
    assert wrong / repetitions <= upper(0.05, repetitions)


@pytest.mark.parametrize(("count", "p"), [(30, (0.2, 0.1)), (50, (0.05, 0.02)), (541, (0.1, 0.08))])
def test_the_tango_interval_covers_the_true_difference(count, p):
    draw = np.random.default_rng(17)
    repetitions, missed = 2000, 0
    counts = draw.multinomial(count, [*p, 1 - sum(p)], size=repetitions)
    for only_a, only_b, _ in counts:
        low, high = tango_interval(int(only_a), int(only_b), count)
        missed += not low <= p[0] - p[1] <= high
    assert missed / repetitions <= upper(0.055, repetitions)


def test_the_permutation_interval_covers_the_true_difference():
    draw = np.random.default_rng(19)
    repetitions, missed = 300, 0
    for _ in range(repetitions):
        low, high = SignFlip(
            draw.exponential(1.0, 40) - draw.exponential(1.0, 40) + 0.5, np.arange(40), 1999
        ).interval()
        missed += not low <= 0.5 <= high
    assert missed / repetitions <= upper(0.05, repetitions)


def test_names_and_order_of_models_change_no_verdict():
    draw = np.random.default_rng(23)
    scores = {
        name: Scores(dict(enumerate((draw.random(200) < p).astype(float).tolist())))
        for name, p in zip("abcd", (0.5, 0.5, 0.7, 0.8), strict=True)
    }
    forward = compare_family(scores)
    backward = compare_family(dict(reversed(scores.items())))
    turned = {Verdict.A_BETTER: Verdict.B_BETTER, Verdict.B_BETTER: Verdict.A_BETTER}
    for (a, b), one in forward.items():
        other = backward[b, a]
        assert other.verdict is turned.get(one.verdict, one.verdict)
        assert other.p_adjusted == pytest.approx(one.p_adjusted)
        assert (other.low, other.high) == (pytest.approx(-one.high), pytest.approx(-one.low))
