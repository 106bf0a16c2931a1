"""Verdicts: what may be said of two models, and when a word is taken back."""

import numpy as np
import pytest

from chanote.boards.statistics import Scores, Verdict, compare, compare_family
from chanote.boards.statistics.wording import word_count, word_number, word_verdict


def answers(both, only_a, only_b, neither):
    a = [1.0] * both + [1.0] * only_a + [0.0] * only_b + [0.0] * neither
    b = [1.0] * both + [0.0] * only_a + [1.0] * only_b + [0.0] * neither
    return a, b


def by_item(scores, failed=()):
    return Scores({str(n): score for n, score in enumerate(scores)}, frozenset(map(str, failed)))


def test_a_pair_of_real_models_as_the_oracle_has_it():
    a, b = answers(398, 57, 47, 39)
    one = compare(a, b)
    assert (one.only_a, one.only_b, one.count) == (57, 47, 541)
    assert one.delta == pytest.approx(10 / 541)
    assert one.error == pytest.approx(0.0189, abs=5e-5)
    assert one.p == pytest.approx(0.3776, abs=5e-5)
    assert one.verdict is Verdict.UNDECIDED


def test_the_verdict_turns_with_the_models_and_with_the_direction_of_the_score():
    a, b = answers(300, 60, 31, 150)
    assert compare(a, b).verdict is Verdict.A_BETTER
    assert compare(b, a).verdict is Verdict.B_BETTER
    assert compare(b, a).delta == -compare(a, b).delta
    assert compare(a, b, higher_is_better=False).verdict is Verdict.B_BETTER


def test_no_difference_found_is_not_equivalence():
    few = compare(*answers(40, 4, 4, 2))
    many = compare(*answers(4000, 30, 32, 900))
    assert few.verdict is Verdict.UNDECIDED
    assert many.verdict is Verdict.EQUIVALENT
    assert compare(*answers(4000, 30, 32, 900), margin=0.001).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize("clusters", [None, "laws"])
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("count", [2, 6, 50, 400])
def test_identical_answers_never_have_a_winner(count, graded, clusters):
    draw = np.random.default_rng(count)
    scores = (draw.random(count) if graded else draw.integers(0, 2, count).astype(float)).tolist()
    one = compare(scores, scores, clusters=[n // 3 for n in range(count)] if clusters else None)
    assert one.delta == 0
    assert one.verdict in (Verdict.UNDECIDED, Verdict.EQUIVALENT, Verdict.UNDEFINED)
    if count <= 50 and not graded:
        assert one.verdict is not Verdict.EQUIVALENT


@pytest.mark.parametrize(("scores", "clusters"), [([], None), ([1.0], None), ([1.0, 0.0, 1.0], ["law"] * 3)])
def test_fewer_than_two_independent_items_are_not_compared(scores, clusters):
    one = compare(scores, [0.0] * len(scores), clusters=clusters)
    assert one.verdict is Verdict.UNDEFINED
    assert (one.p, one.low, one.error) == (None, None, None)
    assert word_verdict(one, "A", "B") == "A and B are not compared: they share fewer than two independent items."


def test_scores_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="3 scores against 2"):
        compare([1, 0, 1], [1, 0])


def test_small_graded_or_clustered_data_use_permutation_and_large_ones_t():
    draw = np.random.default_rng(0)
    a, b = draw.random(400), draw.random(400)
    assert compare(a[:299], b[:299]).method == "sign-flip permutation of 299 units"
    assert compare(a, b).method == "paired t"
    assert compare(a, b, clusters=[n % 29 for n in range(400)]).method == "sign-flip permutation of 29 units"
    assert compare(a, b, clusters=[n % 30 for n in range(400)]).method == "paired t, clustered"
    assert compare(*answers(10, 5, 3, 2)).method == "exact McNemar, Tango interval"


def test_a_difference_that_lives_in_one_cluster_is_not_certain():
    # 40 items of difference, but all in one of 10 laws.
    a, b = answers(60, 40, 0, 300)
    laws = [0] * 60 + [1] * 40 + [2 + n % 8 for n in range(300)]
    alone, clustered = compare(a, b), compare(a, b, clusters=laws)
    assert alone.verdict is Verdict.A_BETTER
    assert clustered.verdict is Verdict.UNDECIDED
    assert clustered.low <= 0 < clustered.high


def test_few_graded_items_never_count_as_equivalent():
    scores = [0.1, 0.5, 0.7, 0.2, 0.9, 0.3, 0.6]
    assert compare(scores, scores).verdict is Verdict.UNDECIDED


def test_a_family_is_corrected_as_a_whole():
    a, b = answers(300, 60, 31, 150)
    alone = compare_family({"a": by_item(a), "b": by_item(b)})["a", "b"]
    assert alone.verdict is Verdict.A_BETTER
    assert alone.family == 1
    draw = np.random.default_rng(1)
    others = {f"m{n}": by_item(draw.permutation(b).tolist()) for n in range(8)}
    crowded = compare_family({"a": by_item(a), "b": by_item(b), **others})
    assert len(crowded) == crowded["a", "b"].family == 45
    assert crowded["a", "b"].p == alone.p
    assert crowded["a", "b"].p_adjusted > alone.p
    assert crowded["a", "b"].needed > alone.needed


def test_a_model_is_compared_on_common_items_only():
    a = Scores({"1": 1.0, "2": 1.0, "3": 0.0})
    b = Scores({"2": 0.0, "3": 0.0, "4": 1.0})
    one = compare_family({"a": a, "b": b})["a", "b"]
    assert (one.count, one.only_a, one.only_b) == (2, 1, 0)


def test_an_item_without_a_score_counts_as_wrong():
    one = compare_family({"a": by_item([1.0, 1.0, 0.0]), "b": by_item([1.0, None, 0.0], failed=[1])})["a", "b"]
    assert (one.count, one.only_a, one.only_b, one.failed_b) == (3, 1, 0, 1)


def test_a_verdict_that_only_failures_carry_against_the_answered_items_is_withheld():
    # B fails 60 of 600 items; on the others both do exactly as well, and surely so.
    a = by_item([1.0] * 60 + [1.0, 0.0] * 270)
    b = by_item([None] * 60 + [1.0, 0.0] * 270, failed=range(60))
    one = compare_family({"a": a, "b": b})["a", "b"]
    assert one.p_adjusted < 1e-6
    assert (one.verdict, one.withheld) == (Verdict.UNDECIDED, Verdict.A_BETTER)
    assert word_verdict(one, "A", "B") == (
        "No verdict on A and B: it changes with how the 60 failed answers are counted."
    )


def test_a_verdict_that_rests_on_cut_answers_with_a_score_is_withheld():
    # A's lead is made of answers that were cut: counted as wrong, nothing is left of it.
    a = by_item([1.0] * 40 + [1.0, 0.0] * 100, failed=range(40))
    b = by_item([0.0] * 40 + [1.0, 0.0] * 100)
    one = compare_family({"a": a, "b": b})["a", "b"]
    assert (one.verdict, one.withheld) == (Verdict.UNDECIDED, Verdict.A_BETTER)


def test_a_model_that_hardly_answers_is_still_worse_and_the_sentence_says_why():
    a = by_item([1.0] * 75 + [0.0] * 20 + [1.0] * 5)
    b = by_item([None] * 95 + [1.0] * 5, failed=range(95))
    one = compare_family({"a": a, "b": b})["a", "b"]
    assert one.verdict is Verdict.A_BETTER
    assert one.answered is Verdict.UNDECIDED
    assert word_verdict(one, "A", "B").endswith(
        "Items that both answered do not decide it: it rests on answers that failed."
    )


def test_where_less_is_better_failed_items_are_dropped():
    a = by_item([0.5] * 50 + [1.0])
    b = by_item([0.9] * 50 + [None], failed=[50])
    one = compare_family({"a": a, "b": b}, higher_is_better=False)["a", "b"]
    assert one.count == 50
    assert one.verdict is Verdict.A_BETTER
    assert one.delta == pytest.approx(-0.4)


def test_the_sentences():
    better = compare(*answers(300, 60, 31, 150))
    assert word_verdict(better, "Klong", "Base") == (
        "Klong is better than Base by 5 points (95\u00a0% interval 2 to 9, p = 0.003)."
    )
    assert word_verdict(better.turned(), "Base", "Klong") == word_verdict(better, "Klong", "Base")
    undecided = compare(*answers(398, 57, 47, 39))
    assert word_verdict(undecided, "A", "B") == (
        "Undecided: 541 items do not separate A and B (\u0394 +2, 95\u00a0% interval \u22122 to +6, p = 0.38); "
        "about 3,800 items would be needed to find a difference of 2 points."
    )
    equivalent = compare(*answers(4000, 30, 32, 938))
    assert word_verdict(equivalent, "A", "B") == (
        "A and B are equivalent within \u00b12 points (\u0394 0.0, 95\u00a0% interval \u22120.4 to +0.3, p = 0.90)."
    )
    slight = compare(*answers(40000, 400, 200, 9400))
    assert "A is better than B by 0.40 points, less than the margin of 2 points" in word_verdict(slight, "A", "B")


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.8410, 0.0157, "84"),
        (0.8410, 0.004, "84.1"),
        (0.8410, 0.00062, "84.10"),
        (-0.0185, 0.0189, "\u22122"),
        (-0.0001, 0.0189, "0"),
        (0.5, None, "50.0"),
    ],
)
def test_numbers_carry_no_more_digits_than_their_error_supports(value, error, text):
    assert word_number(value, error, scale=100) == text


def test_forecasts_have_two_digits():
    assert [word_count(n) for n in (7, 99, 101, 3925, 39249)] == ["7", "99", "110", "4,000", "40,000"]
