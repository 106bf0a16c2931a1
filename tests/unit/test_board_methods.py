"""Statistics beyond the table of means: each against values worked out by hand or another library's."""

import math

import numpy as np
import pytest
from scipy.special import expit
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as peer_fleiss
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from chanote.boards.statistics.aggregate import macro_mean, normalise_chance, pooled_error
from chanote.boards.statistics.agreement import (
    cohen_kappa,
    fleiss_kappa,
    majority_vote,
    position_consistency,
    weighted_kappa,
)
from chanote.boards.statistics.bayes import chance_better, credible_rate
from chanote.boards.statistics.bootstrap import bootstrap_metric, f1_of_sums, sum_clusters
from chanote.boards.statistics.bradley_terry import Battle, rate_battles
from chanote.boards.statistics.discovery import adjust_discovery
from chanote.boards.statistics.equivalence import Retention, check_noninferiority, two_one_sided
from chanote.boards.statistics.judged import correct_rate, predict_with_labels
from chanote.boards.statistics.length_control import control_length
from chanote.boards.statistics.looks import expected_best, selection_bias
from chanote.boards.statistics.passing import majority_score, pass_at_k, pass_every_k, split_variance
from chanote.boards.statistics.power import detectable_difference, forecast_error
from chanote.boards.statistics.seeds import bootstrap_recipes, compare_recipes, seeds_needed


def test_discoveries_by_hand_and_by_statsmodels():
    # .01·4/1, .02·4/2, .03·4/3, .5: from the largest down 0.5, .04, .04, .04.
    assert adjust_discovery([0.02, 0.5, 0.01, 0.03]) == pytest.approx([0.04, 0.5, 0.04, 0.04])
    p = np.random.default_rng(0).random(60) ** 3
    assert adjust_discovery(p) == pytest.approx(multipletests(p, method="fdr_bh")[1])
    assert adjust_discovery([]).size == 0


def test_paired_rates_of_few_items_by_bayes():
    # 3 against 0: Beta(4, 1) above one half: 1 - 1/16. An even split decides nothing.
    assert chance_better(3, 0) == pytest.approx(15 / 16)
    assert chance_better(0, 3) == pytest.approx(1 / 16)
    assert chance_better(5, 5) == pytest.approx(0.5)
    assert chance_better(0, 0) == pytest.approx(0.5)


def test_a_rate_by_bayes():
    # Beta(1, 3) of 0 in 2: mean 1/4, P(p > x) = (1 - x)³.
    found = credible_rate(0, 2)
    assert found.mean == pytest.approx(1 / 4)
    assert (1 - found.low) ** 3 == pytest.approx(0.975)
    assert (1 - found.high) ** 3 == pytest.approx(0.025)


def test_pass_at_k_by_hand():
    # 2 of 4 right: some right of 2 drawn 1 - C(2,2)/C(4,2) = 5/6, all right 1/6.
    assert pass_at_k(4, 2, 2) == pytest.approx(5 / 6)
    assert pass_every_k(4, 2, 2) == pytest.approx(1 / 6)
    assert pass_at_k([4, 4, 4], [0, 3, 4], 2) == pytest.approx([0, 1, 1])
    assert pass_every_k([4, 4], [1, 4], 2) == pytest.approx([0, 1])
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="a question has 4 samples"):
        pass_at_k([8, 4], [1, 1], 5)
    with pytest.raises(ValueError, match="more right samples"):
        pass_at_k(4, 5, 1)


def test_a_tie_for_the_majority_counts_as_its_share():
    assert majority_score(["4", "4", "5"], "4") == 1
    assert majority_score(["4", "5", "4", "5"], "5") == 0.5
    assert majority_score(["4", "4", "5"], "5") == 0
    assert majority_score([], "5") == 0


def test_more_samples_lower_only_the_variance_within_questions():
    # Means 1/2, 1, 0: variance 1/4. Within: 1/2, 0, 0: mean 1/6, halved by two samples 1/12.
    spread = split_variance(np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]))
    assert (spread.within, spread.between) == (pytest.approx(1 / 6), pytest.approx(1 / 6))
    assert spread.error() == pytest.approx(math.sqrt(0.25 / 3))
    assert spread.error(samples=10_000) == pytest.approx(math.sqrt(1 / 6 / 3), rel=1e-3)
    assert split_variance(np.array([[0.0], [1.0]])).within is None


def test_the_forecast_before_a_run_counts_samples():
    # (.1 + .2/4 + .2/4)/500 = .0004.
    error = forecast_error(500, between=0.1, within_a=0.2, within_b=0.2, samples_a=4, samples_b=4)
    assert error == pytest.approx(0.02)
    assert detectable_difference(error) == pytest.approx(0.056, abs=1e-4)


def test_two_one_sided_tests_agree_with_statsmodels():
    differences = np.random.default_rng(4).normal(0.01, 0.1, 50)
    error = differences.std(ddof=1) / math.sqrt(50)
    found = two_one_sided(differences.mean(), error, freedom=49, margin=0.03)
    p, (_, lower, _), (_, upper, _) = ttost_paired(differences, np.zeros(50), -0.03, 0.03)
    assert (found.p, found.p_lower, found.p_upper) == pytest.approx((p, lower, upper))


def scores(both, only_new, only_old, neither):
    new = [1.0] * (both + only_new) + [0.0] * (only_old + neither)
    return new, [1.0] * both + [0.0] * only_new + [1.0] * only_old + [0.0] * neither


def test_not_significantly_worse_is_not_kept():
    few, many = scores(30, 3, 5, 12), scores(1500, 20, 25, 455)
    assert check_noninferiority(*few, margin=0.02).outcome is Retention.UNDECIDED
    assert check_noninferiority(*many, margin=0.02).outcome is Retention.KEPT
    assert check_noninferiority(*many, margin=0.002).outcome is Retention.UNDECIDED
    assert check_noninferiority(*scores(1500, 20, 120, 360), margin=0.02).outcome is Retention.LOST
    assert check_noninferiority(*scores(1500, 5, 25, 470), margin=0.02).outcome is Retention.KEPT_BUT_WORSE
    assert check_noninferiority([1.0], [1.0], margin=0.02) is None


@pytest.mark.parametrize("count", [12, 60, 400])
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("clustered", [False, True])
def test_the_bound_is_above_minus_the_margin_exactly_when_p_is_small(count, graded, clustered):
    draw = np.random.default_rng(count)
    new, old = draw.random((2, count)) if graded else draw.integers(0, 2, (2, count)).astype(float)
    laws = (np.arange(count) // 4).tolist() if clustered else None
    bound = check_noninferiority(new, old, margin=1.0, clusters=laws).low
    for margin, kept in ((-bound * (1 + 1e-6) + 1e-9, True), (-bound * (1 - 1e-6) - 1e-9, False)):
        if math.isfinite(bound) and 0 < margin < 1:
            assert (check_noninferiority(new, old, margin=margin, clusters=laws).p < 0.05) == kept


def test_a_model_with_the_same_answers_has_lost_nothing():
    for same in ([1.0, 0.0] * 300, [0.3, 0.7, 0.2] * 200):
        found = check_noninferiority(same, same, margin=0.02)
        assert found.outcome is Retention.KEPT
        assert found.p_worse == 1


def test_recipes_are_compared_over_their_runs():
    # Means 3 and 1.5, variances 1 and .25, S = 3: SE sqrt(1.25/3), df = 1.25²/(1/2 + .0625/2).
    found = compare_recipes([2, 3, 4], [1, 1.5, 2])
    assert found.delta == pytest.approx(1.5)
    assert found.freedom == pytest.approx(1.5625 / 0.53125)
    assert found.delta - found.low == pytest.approx(found.high - found.delta)
    assert found.low < 0 < found.high
    with pytest.raises(ValueError, match="2 and 3 training runs"):
        compare_recipes([1, 2], [1, 2, 3])
    assert compare_recipes([1, 1, 1], [1, 1, 1]).p == 1


def test_drawing_runs_and_items_anew_is_wider_than_items_alone():
    draw = np.random.default_rng(2)
    runs = draw.normal(0, 0.1, (2, 4, 1)) + draw.normal(0.5, 0.05, (2, 4, 200))
    low, high = bootstrap_recipes(*runs, resamples=800)
    items = (runs[0].mean(0) - runs[1].mean(0)).std() / math.sqrt(200)
    assert high - low > 4 * items
    with pytest.raises(ValueError, match="200 items against 100"):
        bootstrap_recipes(runs[0], runs[1][:, :100])


def test_seeds_needed_grow_with_the_square_of_their_spread():
    assert seeds_needed(0.02, 0.05) == 4
    assert seeds_needed(0.05, 0.05) == 17
    assert seeds_needed(0.0001, 0.05) == 3


def test_the_best_of_ten_looks_is_flattered_by_one_and_a_half_errors():
    assert [round(expected_best(n), 4) for n in (1, 2, 3, 10)] == [0, 0.5642, 0.8463, 1.5388]
    assert selection_bias(0.02, 10) == pytest.approx(0.0308, abs=1e-4)
    assert selection_bias(0.02, 10, shared=0.75) == pytest.approx(0.0154, abs=1e-4)
    assert selection_bias(0.02, 1) == pytest.approx(0, abs=1e-9)


def test_kappa_of_two_raters_by_hand_and_by_statsmodels():
    # Agree on 20 + 15 of 50; yes 25/50 and 30/50: expected .5·.6 + .5·.4 = .5; κ = .2/.5.
    a = ["yes"] * 25 + ["no"] * 25
    b = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    found = cohen_kappa(a, b)
    assert (found.observed, found.expected, found.kappa) == pytest.approx((0.7, 0.5, 0.4))
    assert found.kappa == pytest.approx(cohens_kappa(np.array([[15, 10], [5, 20]])).kappa)
    assert cohen_kappa(["a", "a"], ["a", "a"]).kappa is None
    with pytest.raises(ValueError, match="1 ratings against 2"):
        cohen_kappa(["a"], ["a", "b"])


def test_near_misses_count_less_in_the_weighted_kappa():
    draw = np.random.default_rng(8)
    a = draw.integers(1, 6, 200)
    b = np.clip(a + draw.integers(-1, 2, 200), 1, 5)
    table = np.zeros((5, 5))
    np.add.at(table, (a - 1, b - 1), 1)
    for ours, theirs in (("linear", "linear"), ("quadratic", "quadratic")):
        peer = cohens_kappa(table, wt=theirs).kappa
        assert weighted_kappa(a.tolist(), b.tolist(), weights=ours).kappa == pytest.approx(peer)
    assert cohen_kappa(a.tolist(), b.tolist()).kappa < 0.5 < weighted_kappa(a.tolist(), b.tolist()).kappa


def test_kappa_of_many_raters_by_hand_and_by_statsmodels():
    # Two items, three raters: (3, 0) agrees 1, (1, 2) agrees (1 + 4 - 3)/6 = 1/3. Shares 2/3 and 1/3: expected 5/9.
    found = fleiss_kappa(np.array([[3, 0], [1, 2]]))
    assert (found.observed, found.expected) == (pytest.approx(2 / 3), pytest.approx(5 / 9))
    assert found.kappa == pytest.approx(1 / 4)
    counts = np.random.default_rng(9).multinomial(7, [0.5, 0.3, 0.2], size=40)
    assert fleiss_kappa(counts).kappa == pytest.approx(peer_fleiss(counts))
    with pytest.raises(ValueError, match="2 to 3"):
        fleiss_kappa(np.array([[3, 0], [1, 1]]))


def test_a_judge_that_names_the_first_answer_is_inconsistent():
    found = position_consistency(["a", "a", "b", "tie", "b"], ["b", "a", "b", "tie", "tie"])
    assert (found.pairs, found.same, found.first, found.second, found.share) == (5, 2, 1, 1, 0.4)
    assert position_consistency([], []).share is None


def test_as_many_votes_for_two_answers_make_a_tie():
    assert majority_vote(["a", "b", "a"]) == "a"
    assert majority_vote(["a", "b", "a", "b"]) == "tie"
    assert majority_vote(["tie", "tie", "a"]) == "tie"


def test_labels_put_a_lenient_judge_right():
    # All judged 1; of four labelled, two were wrong: 1 + mean(0, 0, -1, -1).
    found = predict_with_labels([1.0] * 10, [1.0] * 4, [1.0, 1.0, 0.0, 0.0])
    assert found.value == pytest.approx(0.5)
    assert found.error == pytest.approx(math.sqrt((1 / 3) / 4))
    with pytest.raises(ValueError, match="1 labels for 2"):
        predict_with_labels([1.0, 0.0], [1.0, 0.0], [1.0])


def test_a_rate_put_right_by_sensitivity_and_specificity():
    # (.6 + .9 - 1)/.7 = 5/7.
    found = correct_rate(0.6, 500, sensitivity=0.8, positives=100, specificity=0.9, negatives=100)
    assert found.value == pytest.approx(5 / 7)
    spread = 0.24 / 500 + (5 / 7) ** 2 * 0.16 / 100 + (2 / 7) ** 2 * 0.09 / 100
    assert found.error == pytest.approx(math.sqrt(spread) / 0.7)
    perfect = correct_rate(0.6, 500, sensitivity=1, positives=50, specificity=1, negatives=50)
    assert (perfect.value, perfect.error) == (pytest.approx(0.6), pytest.approx(math.sqrt(0.24 / 500)))
    assert correct_rate(0.6, 500, sensitivity=0.5, positives=50, specificity=0.5, negatives=50) is None
    assert correct_rate(0.01, 500, sensitivity=0.8, positives=50, specificity=0.9, negatives=50).value == 0


def test_micro_f1_in_clusters():
    parts = np.tile([[2, 1, 0], [0, 1, 2], [3, 0, 1]], (20, 1))
    clusters = np.repeat(np.arange(20), 3)
    sums = sum_clusters(parts, clusters)
    assert sums[7].tolist() == [5, 2, 3]
    # 2·5/(2·5 + 2 + 3), the same in every cluster.
    same = bootstrap_metric(sums, f1_of_sums)
    assert (same.value, same.low, same.high) == (pytest.approx(2 / 3),) * 3
    few = bootstrap_metric(sums[:19], f1_of_sums)
    assert (few.low, few.error) == (None, None)
    assert few.method == "undefined: 19 clusters, a bootstrap needs 20"


def test_the_bootstrap_of_a_mean_is_its_clustered_interval():
    draw = np.random.default_rng(6)
    values = draw.normal(0.5, 0.1, 200)
    sums = np.stack([values, np.ones(200)], axis=1)
    found = bootstrap_metric(sums, lambda part: part[..., 0] / part[..., 1], resamples=2_000)
    error = values.std(ddof=1) / math.sqrt(200)
    assert found.error == pytest.approx(error, rel=0.06)
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    # The same clusters with every item twice: nothing changes.
    twice = bootstrap_metric(2 * sums, lambda part: part[..., 0] / part[..., 1], resamples=2_000)
    assert (twice.low, twice.high) == pytest.approx((found.low, found.high))


def test_a_longer_model_of_equal_quality_wins_half_when_lengths_are_equal():
    draw = np.random.default_rng(10)
    lengths, others = draw.normal(600, 100, 800), draw.normal(400, 100, 800)
    lean = np.tanh((lengths - others) / (lengths - others).std())
    won = (draw.random(800) < expit(1.5 * lean)).astype(float)
    found = control_length(won, lengths, others, resamples=200)
    assert found.win_rate > 0.7
    assert found.low < 0.5 < found.high
    assert found.length_effect == pytest.approx(1.5, abs=0.4)
    equal = control_length(won, np.full(800, 9.0), np.full(800, 9.0), resamples=50)
    assert equal.controlled == pytest.approx(won.mean(), abs=1e-4)


def test_length_separating_all_preferences_still_gives_a_number():
    found = control_length(np.repeat([0.0, 1.0], 20), np.repeat([1.0, 9.0], 20), np.full(40, 5.0), resamples=50)
    assert 0 <= found.low <= found.controlled <= found.high <= 1


def test_strengths_of_two_models_by_hand():
    # 30 of 40 won and no ties: β difference = logit(.75) = 1.0986, shrunk by a hair.
    battles = [Battle(str(n), "x", "y", float(n < 30)) for n in range(40)]
    found = rate_battles(battles, resamples=200)
    gap = found.strengths["x"].value - found.strengths["y"].value
    assert (gap, found.tie) == (pytest.approx(math.log(3), abs=2e-3), 0.0)
    assert list(found.strengths) == ["x", "y"]
    assert found.strengths["x"].rank == (1, 1)


def test_ties_by_rao_and_kupper():
    # Wins 20, losses 10, ties 10: σ(Δ-η) = .5, σ(-Δ-η) = .25: Δ = η = ln(3)/2.
    outcomes = [1.0] * 200 + [0.0] * 100 + [0.5] * 100
    found = rate_battles([Battle(str(n), "x", "y", value) for n, value in enumerate(outcomes)], resamples=100)
    gap = found.strengths["x"].value - found.strengths["y"].value
    assert (gap, found.tie) == (pytest.approx(math.log(3) / 2, abs=2e-3), pytest.approx(math.log(3) / 2, abs=2e-3))


def test_a_model_that_wins_all_stays_finite_and_separate_groups_are_refused():
    won = rate_battles([Battle(str(n), "x", "y", 1.0) for n in range(20)], resamples=50)
    assert all(math.isfinite(one.high) for one in won.strengths.values())
    with pytest.raises(ValueError, match="no battle connects c, d"):
        rate_battles([Battle("1", "a", "b", 1.0), Battle("2", "c", "d", 1.0)])
    with pytest.raises(ValueError, match="no battle connects"):
        rate_battles([])


def test_battles_of_one_prompt_are_not_independent():
    draw = np.random.default_rng(20)
    prompts = [(str(n), float(draw.random() < 0.6)) for n in range(40)]
    once = rate_battles([Battle(prompt, "x", "y", won) for prompt, won in prompts], resamples=300)
    five = rate_battles([Battle(prompt, "x", "y", won) for prompt, won in prompts for _ in range(5)], resamples=300)
    widths = [one.strengths["x"].high - one.strengths["x"].low for one in (once, five)]
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_groups_and_chance_by_hand():
    assert macro_mean([0.4, 0.6], np.diag([0.01, 0.03])) == (pytest.approx(0.5), pytest.approx(0.1))
    # (1·2·.04 + 2·3·.01)/(5 - 2)/5
    assert pooled_error([0.2, 0.1], [2, 3]) == pytest.approx(math.sqrt(0.14 / 15))
    assert normalise_chance(0.5, 0.03, chance=0.25) == (pytest.approx(1 / 3), pytest.approx(0.04))
