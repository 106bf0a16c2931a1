"""Building blocks of the boards: each against values worked out by hand, a published table or another library."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from chanote.boards.statistics import display_letters, estimate_mean, rank_intervals
from chanote.boards.statistics.clustered import number_clusters, standard_error
from chanote.boards.statistics.holm import adjust_holm
from chanote.boards.statistics.mcnemar import exact_mcnemar, mid_mcnemar
from chanote.boards.statistics.permutation import SignFlips
from chanote.boards.statistics.power import detectable_difference, expected_paired_error, items_needed
from chanote.boards.statistics.proportion import clopper_pearson_interval, wilson_interval
from chanote.boards.statistics.tango import tango_equivalence_p, tango_interval, tango_statistic


def test_the_standard_error_of_a_mean_by_hand():
    # 0, 1, 1: mean 2/3, squares 4/9 + 1/9 + 1/9 = 2/3, over 3 · 2 is 1/9.
    assert standard_error(np.array([0.0, 1.0, 1.0]), np.arange(3)) == pytest.approx(1 / 3)


def test_the_clustered_standard_error_by_hand():
    # 1, 1 | 0, 1: mean 3/4, cluster sums 1/2 and -1/2; sqrt(2/1 · 1/2) / 4.
    assert standard_error(np.array([1.0, 1.0, 0.0, 1.0]), np.array([0, 0, 1, 1])) == pytest.approx(0.25)


def test_duplicating_every_item_within_its_cluster_changes_no_clustered_error():
    values = np.random.default_rng(1).random(40)
    once = standard_error(values, np.arange(40))
    twice = np.repeat(values, 2)
    assert standard_error(twice, np.repeat(np.arange(40), 2)) == pytest.approx(once)
    # Taken as independent, the copies would shrink it by sqrt(2), but for the degree of freedom.
    assert standard_error(twice, np.arange(80)) == pytest.approx(once / math.sqrt(2) * math.sqrt(78 / 79))


def test_items_without_a_cluster_name_stand_alone():
    assert number_clusters(["x", "", "x", ""], 4).tolist() == [0, 1, 0, 2]
    with pytest.raises(ValueError, match="3 clusters for 4 items"):
        number_clusters(["x", "", "x"], 4)


@pytest.mark.parametrize(("scores", "clusters"), [([], None), ([1.0], None), ([1.0, 0.0], ["law", "law"])])
def test_one_independent_item_has_no_interval(scores, clusters):
    estimate = estimate_mean(scores, clusters=clusters)
    assert (estimate.low, estimate.high, estimate.error) == (None, None, None)
    assert estimate.method.startswith("undefined")


def test_a_graded_mean_has_a_t_interval():
    # 0.2, 0.4, 0.9: mean .5, sd .360555, SE .208167, t_2 4.302653.
    estimate = estimate_mean([0.2, 0.4, 0.9])
    assert (estimate.mean, estimate.error) == (pytest.approx(0.5), pytest.approx(0.208167, abs=1e-6))
    assert (estimate.low, estimate.high) == (pytest.approx(-0.395669, abs=1e-6), pytest.approx(1.395669, abs=1e-6))


@pytest.mark.parametrize(("right", "count"), [(0, 10), (7, 10), (10, 10), (455, 541)])
def test_rates_agree_with_statsmodels(right, count):
    scores = [1.0] * right + [0.0] * (count - right)
    estimate = estimate_mean(scores)
    expected = proportion_confint(right, count, method="wilson")
    assert (estimate.low, estimate.high) == (pytest.approx(expected[0], abs=1e-12), pytest.approx(expected[1]))
    assert clopper_pearson_interval(right, count) == pytest.approx(proportion_confint(right, count, method="beta"))


def test_wilson_by_hand():
    # z² = 3.8415, p = .75, n = 8: centre .99009 / 1.48018, half 1.96 / 1.48018 · sqrt(.0234375 + .0150058).
    assert wilson_interval(0.75, 8) == (pytest.approx(0.40928, abs=1e-5), pytest.approx(0.92852, abs=1e-5))


def test_no_failure_in_n_is_bounded_by_three_in_n():
    assert clopper_pearson_interval(0, 100, level=0.90)[1] == pytest.approx(1 - 0.05 ** (1 / 100))


def test_a_rate_in_clusters_is_as_sure_as_its_clusters():
    singles = estimate_mean([1.0, 0.0] * 20)
    copies = estimate_mean([1.0] * 4 + [0.0] * 4, clusters=[n // 2 for n in range(8)])
    fewer = estimate_mean([1.0, 1.0, 0.0, 0.0])
    assert singles.method == "Wilson"
    assert copies.high - copies.low > fewer.high - fewer.low
    # All right in five clusters says no more than five items do.
    perfect = estimate_mean([1.0] * 500, clusters=[n // 100 for n in range(500)])
    assert perfect.high == 1.0
    assert perfect.low < estimate_mean([1.0] * 5).low


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"), [(57, 47, 0.3776), (55, 55, 1.0), (60, 31, 0.0031), (87, 68, 0.148), (102, 61, 0.0016)]
)
def test_exact_mcnemar_on_real_discordant_counts(only_a, only_b, p):
    assert exact_mcnemar(only_a, only_b) == pytest.approx(p, abs=5e-5)
    assert exact_mcnemar(only_b, only_a) == exact_mcnemar(only_a, only_b)
    assert exact_mcnemar(only_a, only_b) == pytest.approx(mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue)


def test_mcnemar_by_hand():
    # 5 of 5 on one side: 2/32. 4 of 5: 2 · (5 + 1)/32.
    assert (exact_mcnemar(5, 0), exact_mcnemar(4, 1), exact_mcnemar(0, 0)) == (1 / 16, 3 / 8, 1.0)
    assert mid_mcnemar(5, 0) == pytest.approx(1 / 32)
    assert mid_mcnemar(2, 2) == pytest.approx(1 - 6 / 16)


def _log_likelihood_q(only_a, only_b, count, difference):
    """Rate of "only B right" that is likeliest when the true difference is given, found by search."""

    def lose(q):
        cells = [(only_a, q + difference), (only_b, q), (count - only_a - only_b, 1 - 2 * q - difference)]
        return -sum(n * math.log(max(p, 1e-300)) for n, p in cells if n)

    low, high = max(0.0, -difference), (1 - difference) / 2
    return minimize_scalar(lose, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x


@pytest.mark.parametrize(
    ("only_a", "only_b", "count"), [(57, 47, 541), (12, 2, 50), (3, 9, 14), (1, 0, 44), (20, 1, 30)]
)
def test_the_tango_interval_ends_where_the_score_test_rejects(only_a, only_b, count):
    for bound, z in zip(tango_interval(only_a, only_b, count), (1.959964, -1.959964), strict=True):
        q = _log_likelihood_q(only_a, only_b, count, bound)
        variance = count * (2 * q + bound - bound**2)
        assert (only_a - only_b - count * bound) / math.sqrt(variance) == pytest.approx(z, abs=1e-3)


def test_the_tango_statistic_at_zero_is_mcnemars():
    assert tango_statistic(57, 47, 541, 0.0) == pytest.approx(10 / math.sqrt(104))


def test_tango_without_any_disagreement_is_not_certain():
    # z² / (n + z²) on both sides.
    low, high = tango_interval(0, 0, 50)
    assert high == pytest.approx(3.8415 / 53.8415, abs=1e-4)
    assert low == pytest.approx(-high)
    assert tango_interval(30, 0, 30)[1] == 1.0
    assert tango_interval(0, 30, 30)[0] == -1.0


def test_equivalence_by_tango_is_the_ninety_percent_interval_within_the_margin():
    for counts in [(3, 4, 500), (10, 12, 500), (30, 20, 1000), (0, 0, 100)]:
        low, high = tango_interval(*counts, level=0.90)
        edge = max(-low, high)
        assert (
            tango_equivalence_p(*counts, margin=edge * 1.001) < 0.05 < tango_equivalence_p(*counts, margin=edge * 0.999)
        )


def test_sign_flips_of_few_clusters_are_counted_in_full():
    # Sums 1, 2, 3: of 8 sign vectors only +++ and --- reach 6.
    flip = SignFlips.of(np.array([1.0, 2.0, 3.0]), np.arange(3))
    test = flip.test()
    assert (test.p, test.p_above, test.p_below) == (2 / 8, 1 / 8, 1.0)
    assert flip.intervals() == (-math.inf, math.inf)
    # |1 + 2 - 3| = 0 is reached by every vector.
    assert SignFlips.of(np.array([1.0, 2.0, -3.0]), np.arange(3)).p_values() == 1.0


def test_clusters_flip_as_a_whole():
    values = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert SignFlips.of(values, np.arange(6)).p_values() == 2 / 64
    assert SignFlips.of(values, np.array([0, 0, 0, 1, 1, 1])).p_values() == 2 / 4


def test_the_permutation_interval_inverts_the_test_and_resembles_t_on_normal_data():
    values = np.random.default_rng(3).normal(0.3, 1.0, 80)
    flip = SignFlips.of(values, np.arange(80))
    (low,), (high,) = flip.intervals()
    assert flip.p_values(low + 1e-6) >= 0.05 > flip.p_values(low - 1e-6)
    assert flip.p_values(high - 1e-6) >= 0.05 > flip.p_values(high + 1e-6)
    estimate = estimate_mean(values.tolist())
    assert (low, high) == (pytest.approx(estimate.low, abs=0.02), pytest.approx(estimate.high, abs=0.02))
    assert SignFlips.of(values, np.arange(80)).intervals() == (low, high)


def test_holm_by_hand_and_by_statsmodels():
    assert adjust_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_holm([]).size == 0
    p = np.random.default_rng(0).random(60) ** 3
    assert adjust_holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1])


def test_ranks_are_intervals():
    assert rank_intervals("xyz", {}) == {"x": (1, 3), "y": (1, 3), "z": (1, 3)}
    assert rank_intervals("xyz", {"x": {"z"}}) == {"x": (1, 2), "y": (1, 3), "z": (2, 3)}
    assert rank_intervals("xyz", {"x": {"y", "z"}, "y": {"z"}}) == {"x": (1, 1), "y": (2, 2), "z": (3, 3)}


def test_letters_of_a_chain():
    assert display_letters("xyz", []) == {"x": "a", "y": "a", "z": "a"}
    assert display_letters("xyz", [frozenset("xz")]) == {"x": "a", "y": "ab", "z": "b"}
    everyone = [frozenset(pair) for pair in itertools.combinations("xyz", 2)]
    assert display_letters("xyz", everyone) == {"x": "a", "y": "b", "z": "c"}


def test_letters_of_many_models_take_no_time_and_go_past_z():
    names = [f"model-{n:02}" for n in range(60)]
    far = {frozenset(pair) for pair in itertools.combinations(names, 2) if int(pair[1][-2:]) - int(pair[0][-2:]) > 5}
    letters = display_letters(names, far)
    assert (letters["model-00"], letters["model-01"], letters["model-59"]) == ("a", "ab", "c3")


@pytest.mark.parametrize("seed", range(20))
def test_models_share_a_letter_exactly_when_they_are_not_separated(seed):
    draw = np.random.default_rng(seed)
    names = "abcdefgh"
    separated = {frozenset(pair) for pair in itertools.combinations(names, 2) if draw.random() < 0.5}
    letters = display_letters(names, separated)
    for one, other in itertools.combinations(names, 2):
        assert bool(set(letters[one]) & set(letters[other])) == (frozenset((one, other)) not in separated)


@pytest.mark.parametrize(
    ("count", "half", "unpaired", "paired_20", "paired_10"),
    [
        (50, 12.7, 25.7, 17.7, 12.5),
        (250, 5.7, 11.5, 7.9, 5.6),
        (541, 3.9, 7.8, 5.4, 3.8),
        (952, 2.9, 5.9, 4.1, 2.9),
        (1319, 2.5, 5.0, 3.4, 2.4),
        (3730, 1.5, 3.0, 2.1, 1.4),
    ],
)
def test_the_sample_size_table(count, half, unpaired, paired_20, paired_10):
    error = math.sqrt(0.7 * 0.3 / count)
    assert 100 * norm.ppf(0.975) * error == pytest.approx(half, abs=0.05)
    assert 100 * detectable_difference(math.sqrt(2) * error) == pytest.approx(unpaired, abs=0.06)
    assert 100 * detectable_difference(expected_paired_error(0.2, count)) == pytest.approx(paired_20, abs=0.06)
    assert 100 * detectable_difference(expected_paired_error(0.1, count)) == pytest.approx(paired_10, abs=0.06)


def test_items_needed_by_hand():
    # 7.849 · .2 / .02² = 3924.4.
    assert items_needed(0.2, 0.02) == 3925
    assert items_needed(0.2, 0.02, family=10) > 3925
