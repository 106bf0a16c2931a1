"""Methods beyond the table of means under a known truth: they err as often as they say and no oftener."""

import math

import numpy as np
import pytest

from chanote.boards.statistics.bayes import chance_better, credible_rate
from chanote.boards.statistics.bootstrap import bootstrap_metric, f1_of_sums
from chanote.boards.statistics.bradley_terry import Battle, rate_battles
from chanote.boards.statistics.clustered import standard_error
from chanote.boards.statistics.discovery import adjust_discovery
from chanote.boards.statistics.equivalence import Retention, check_noninferiority
from chanote.boards.statistics.judged import correct_rate, predict_with_labels
from chanote.boards.statistics.looks import expected_best
from chanote.boards.statistics.mcnemar import exact_mcnemar, mid_mcnemar
from chanote.boards.statistics.passing import pass_at_k, split_variance
from chanote.boards.statistics.seeds import compare_recipes

TIMES = 2_000


def upper(level, repetitions):
    """A rate of `level` is seen above this once in a thousand times."""
    return level + 3.1 * math.sqrt(level * (1 - level) / repetitions)


def test_marked_cells_of_a_map_are_false_at_most_once_in_twenty():
    draw = np.random.default_rng(31)
    true = np.arange(40) < 10
    z = draw.normal(0, 1, (TIMES, 40)) + np.where(true, 3.5, 0)
    p = 2 * np.array([[math.erfc(abs(x) / math.sqrt(2)) / 2 for x in row] for row in z])
    marked = np.stack([adjust_discovery(row) for row in p]) < 0.05
    false = (marked & ~true).sum(1) / np.maximum(1, marked.sum(1))
    assert false.mean() <= 0.05
    assert (marked & true).sum() / (TIMES * 10) > 0.7


def test_the_exact_test_keeps_its_level_and_the_mid_p_is_less_cautious():
    counts = np.random.default_rng(32).multinomial(40, [0.15, 0.15, 0.7], size=20_000)
    exact, mid = (test(counts[:, 0], counts[:, 1]) < 0.05 for test in (exact_mcnemar, mid_mcnemar))
    assert exact.mean() < mid.mean() <= upper(0.05, 20_000)


@pytest.mark.parametrize(("kind", "count"), [("rates", 1500), ("clusters", 360), ("few graded", 60), ("graded", 400)])
def test_forgetting_as_large_as_the_margin_is_called_kept_at_most_once_in_twenty(kind, count):
    draw = np.random.default_rng(33)
    times = 500
    kept = 0
    for _ in range(times):
        laws = None
        if kind == "rates":
            split = draw.choice(3, size=count, p=[0.02, 0.04, 0.94])
            new, old = (split != 1).astype(float), (split != 0).astype(float)
        elif kind == "clusters":
            laws = np.repeat(np.arange(count // 6), 6)
            gap = draw.normal(-0.02, 0.05, count // 6)[laws]
            old = draw.random(count)
            new = old + gap + draw.normal(0, 0.02, count)
        else:
            old = draw.random(count)
            new = old + draw.normal(-0.02, 0.1, count)
        found = check_noninferiority(
            new, old, margin=0.02, clusters=None if laws is None else laws.tolist(), resamples=999
        )
        kept += found.outcome in (Retention.KEPT, Retention.KEPT_BUT_WORSE)
    assert kept / times <= upper(0.05, times)


def test_a_model_that_forgot_nothing_is_said_to_have_lost_at_most_once_in_twenty():
    draw = np.random.default_rng(34)
    lost = 0
    for _ in range(TIMES // 4):
        split = draw.choice(3, size=300, p=[0.05, 0.05, 0.9])
        found = check_noninferiority((split != 1).astype(float), (split != 0).astype(float), margin=0.02)
        lost += found.outcome in (Retention.LOST, Retention.KEPT_BUT_WORSE)
    assert lost / (TIMES // 4) <= upper(0.05, TIMES // 4)


def test_recipes_that_are_equal_are_told_apart_once_in_twenty_though_items_would_say_always():
    draw = np.random.default_rng(35)
    found = naive = 0
    for _ in range(600):
        a, b = draw.normal(0.5, 0.03, 4), draw.normal(0.5, 0.06, 3)
        found += compare_recipes(a, b).p < 0.05
        naive += abs(a[0] - b[0]) > 1.96 * 0.005
    assert found / 600 <= upper(0.05, 600)
    assert naive / 600 > 0.7


def test_pass_at_k_is_unbiased_where_the_plain_formula_is_not():
    draw = np.random.default_rng(36)
    right = draw.binomial(10, 0.3, 40_000)
    assert pass_at_k(10, right, 5).mean() == pytest.approx(1 - 0.7**5, abs=0.004)
    assert (1 - (1 - right / 10) ** 5).mean() < 1 - 0.7**5 - 0.02


def test_the_variance_of_a_mean_is_split_rightly():
    draw = np.random.default_rng(37)
    chances = draw.beta(2, 2, (TIMES, 100, 1))
    scores = (draw.random((TIMES, 100, 4)) < chances).astype(float)
    spreads = [split_variance(one) for one in scores[:300]]
    assert np.mean([one.between for one in spreads]) == pytest.approx(0.05, rel=0.03)
    assert np.mean([one.within for one in spreads]) == pytest.approx(0.2, rel=0.02)
    # One sample alone would have spread as told from four.
    assert np.mean([one.error(samples=1) for one in spreads]) == pytest.approx(scores[:, :, 0].mean(1).std(), rel=0.06)


def test_a_credible_interval_of_few_items_covers():
    draw = np.random.default_rng(38)
    rates = draw.random(TIMES)
    missed = 0
    for rate in rates:
        found = credible_rate(int(draw.binomial(15, rate)), 15)
        missed += not found.low <= rate <= found.high
    assert missed / TIMES <= upper(0.05, TIMES)


def test_the_chance_of_being_better_is_the_share_of_truths_that_are():
    draw = np.random.default_rng(39)
    truths = draw.dirichlet([1, 1, 1, 1], 400_000)
    counts = np.stack([draw.multinomial(12, truth) for truth in truths[:60_000]])
    seen = (counts[:, 1] == 3) & (counts[:, 2] == 1)
    better = truths[:60_000][seen, 1] > truths[:60_000][seen, 2]
    assert better.mean() == pytest.approx(chance_better(3, 1), abs=4 * math.sqrt(0.15 / seen.sum()))


def test_the_cluster_bootstrap_of_f1_covers():
    draw = np.random.default_rng(40)
    missed, times = 0, 200
    truth = 2 * 3 / (2 * 3 + 1 + 1.5)
    for _ in range(times):
        size = draw.gamma(4, 0.25, (40, 1))
        sums = draw.poisson(size * [3, 1, 1.5]).astype(float)
        found = bootstrap_metric(sums, f1_of_sums, resamples=499)
        missed += not found.low <= truth <= found.high
    assert missed / times <= upper(0.07, times)


def test_labels_remove_the_bias_of_a_lenient_judge():
    draw = np.random.default_rng(41)
    missed = fooled = 0
    rates = []
    for _ in range(TIMES):
        truth = draw.random(600) < 0.4
        judged = np.where(truth, draw.random(600) < 0.9, draw.random(600) < 0.3)
        found = predict_with_labels(judged[150:], judged[:150], truth[:150])
        missed += not found.low <= 0.4 <= found.high
        rates.append(found.value)
        fooled += abs(judged.mean() - 0.4) > 0.06
    assert np.mean(rates) == pytest.approx(0.4, abs=0.003)
    assert missed / TIMES <= upper(0.055, TIMES)
    assert fooled / TIMES > 0.99


def test_a_rate_put_right_covers_the_true_one():
    draw = np.random.default_rng(42)
    missed = 0
    for _ in range(TIMES):
        positives, negatives = draw.binomial(200, 0.9) / 200, draw.binomial(200, 0.8) / 200
        rate = draw.binomial(500, 0.4 * 0.9 + 0.6 * 0.2) / 500
        found = correct_rate(rate, 500, sensitivity=positives, positives=200, specificity=negatives, negatives=200)
        missed += not found.low <= 0.4 <= found.high
    assert missed / TIMES <= upper(0.06, TIMES)


def test_equal_players_share_all_ranks_at_least_nineteen_times_in_twenty():
    draw = np.random.default_rng(43)
    times, claimed = 40, 0
    for _ in range(times):
        battles = [
            Battle(str(prompt), a, b, float(draw.choice([0.0, 0.5, 1.0], p=[0.4, 0.2, 0.4])))
            for prompt in range(60)
            for a, b in (("w", "x"), ("y", "z"), ("x", "y"))
        ]
        ladder = rate_battles(battles, resamples=100)
        claimed += any(one.rank != (1, 4) for one in ladder.strengths.values())
    assert claimed / times <= upper(0.07, times)


def test_a_stronger_player_is_ranked_first():
    draw = np.random.default_rng(44)
    battles = [
        Battle(str(prompt), "strong", other, float(draw.random() < 0.75)) for prompt in range(80) for other in "xyz"
    ]
    ladder = rate_battles(battles, resamples=200)
    assert ladder.strengths["strong"].rank == (1, 1)
    assert {one.rank for name, one in ladder.strengths.items() if name != "strong"} == {(2, 4)}


def test_the_best_of_several_equal_checkpoints_lies_above_the_truth_as_told():
    scores = np.random.default_rng(45).normal(0, 1, (20_000, 6))
    assert scores.max(1).mean() == pytest.approx(expected_best(6), abs=0.02)


def test_the_clustered_error_is_the_spread_of_means():
    draw = np.random.default_rng(46)
    laws = np.repeat(np.arange(40), 5)
    values = np.repeat(draw.normal(0, 1, (TIMES, 40)), 5, axis=1) + draw.normal(0, 0.5, (TIMES, 200))
    told = np.mean([standard_error(one, laws) for one in values[:400]])
    assert told == pytest.approx(values.mean(1).std(), rel=0.05)
