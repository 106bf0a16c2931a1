"""Which rollouts the review inbox picks, worked out by hand."""

import json

import pytest

from chanote.review.rules import (
    MOST_PICKS,
    SeenCall,
    SeenRollout,
    find_high,
    find_repeated_calls,
    pick_odd,
    read_components,
)
from chanote.review.texts import compare_words, share_kept


def see(group: int = 0, index: int = 0, **fields) -> SeenRollout:
    given = {
        "prompt": f"prompt {group}",
        "reward": 1.0,
        "rewards": {},
        "tokens": 20,
        "answer": f"The answer of {group}.{index} is its own.",
    }
    return SeenRollout(group=group, index=index, **given | fields)


def reasons(rollouts, **names) -> dict[str, list[str]]:
    return {
        f"{one.seen.group}.{one.seen.index}": [reason.rule for reason in one.reasons]
        for one in pick_odd(rollouts, **names)
    }


def call(query: str = "fine", *, status: str = "ok", tool: str = "search_law") -> SeenCall:
    return SeenCall(tool, json.dumps({"query": query, "top_k": 3}), status)


@pytest.mark.parametrize(
    ("rewards", "high"),
    [
        # A quarter right: the quartile is 0, so that what exceeds the mean of 0.25 counts.
        ([1, 0, 0, 0], [1]),
        ([1, 1, 1, 0], [1, 1, 1]),
        # Nearly all got the 0.1 for the right form; only 1 exceeds the mean of 0.19.
        ([0.1] * 9 + [1.0], [1.0]),
        # Four values: the third is the upper quartile.
        ([0.1, 0.2, 0.6, 0.8], [0.6, 0.8]),
        ([0.5, 0.5], [0.5, 0.5]),
        ([0, 0, 0], []),
        ([-1, -0.5], []),
        ([], []),
    ],
)
def test_a_reward_is_high_in_the_upper_quartile_above_the_mean(rewards, high):
    found = find_high([see(0, index, reward=reward) for index, reward in enumerate(rewards)])
    assert [one.reward for one in found] == high


def test_a_rollout_without_a_reward_or_with_one_that_is_no_number_is_never_picked():
    bad = tuple(call("x", status="rejected") for _ in range(4))
    rollouts = [see(0, 0, reward=None, calls=bad), see(0, 1, reward=float("nan"), calls=bad), see(0, 2, calls=bad)]
    assert reasons(rollouts) == {"0.2": ["bad_calls", "calls"]}


def test_a_length_is_judged_against_rollouts_with_such_a_reward_only():
    # Right ones have 20 tokens, wrong ones 200: the long wrong ones make a long right one no less odd.
    right = [see(group, 0, tokens=20) for group in range(9)]
    wrong = [see(group, 1, tokens=200, reward=0.0) for group in range(9)]
    odd = see(9, 0, tokens=200)
    assert reasons([*right, *wrong, odd]) == {"9.0": ["length"]}


def test_an_unusual_length_is_told_with_its_median():
    rollouts = [see(group, tokens=tokens) for group, tokens in enumerate([18, 19, 20, 20, 20, 21, 22, 20, 90])]
    (odd,) = pick_odd(rollouts)
    assert odd.seen.tokens == 90
    assert odd.reasons[0].words == (
        "90 tokens, far longer than the 9 rollouts of this step with such a reward: their median is 20."
    )


def test_lengths_within_four_deviations_and_few_rollouts_say_nothing():
    # Median 20, median distance 0: the least deviation is a tenth of 20, so 28 is just not odd and 29 is.
    lengths = [20] * 8
    assert reasons([see(group, tokens=tokens) for group, tokens in enumerate([*lengths, 28])]) == {}
    assert reasons([see(group, tokens=tokens) for group, tokens in enumerate([*lengths, 29])]) == {"8.0": ["length"]}
    assert reasons([see(group, tokens=tokens) for group, tokens in enumerate([20] * 6 + [500])]) == {}


def test_the_same_call_three_times_is_odd_however_its_arguments_are_spelled():
    spelled = SeenCall("search_law", '{"top_k": 3,   "query": "fine"}', "ok")
    found = find_repeated_calls(see(calls=(call(), spelled, call("other"), call())))
    assert found is not None
    assert found.words == "Called search_law 3 times with the same arguments."
    assert find_repeated_calls(see(calls=(call(), call(), call("other"), call(tool="read_law")))) is None


def test_calls_whose_arguments_are_kept_in_part_are_not_taken_for_equal():
    cut = SeenCall("run_python", None, "ok")
    assert find_repeated_calls(see(calls=(cut, cut, cut))) is None


def test_half_of_the_calls_malformed_is_odd_one_alone_is_not():
    bad, good = call("a", status="rejected"), call("b")
    assert reasons([see(calls=(bad, call("c", status="rejected"), good, call("d")))]) == {"0.0": ["bad_calls"]}
    assert reasons([see(calls=(bad,))]) == {}
    assert reasons([see(calls=(bad, call("c", status="rejected"), good, call("d"), call("e")))]) == {}
    # A program that fails was called rightly.
    assert reasons([see(calls=(call("a", status="error"), call("b", status="error")))]) == {}


def test_a_judge_that_contradicts_the_key_is_told_with_both_values():
    names = {"judges": frozenset({"judge"}), "exact": frozenset({"exact", "numeric"})}
    one = see(rewards={"judge": 1.0, "exact": 0.0, "numeric": 0.5, "form": 1.0})
    (odd,) = pick_odd([one], **names)
    assert odd.reasons[0].words == "Judge gives 1.00, but exact gives 0.00 and numeric gives 0.50."
    assert odd.reasons[0].strength == pytest.approx(0.75)
    assert reasons([see(rewards={"judge": 0.0, "exact": 1.0})], **names) == {"0.0": ["judge"]}
    assert reasons([see(rewards={"judge": 1.0, "exact": 1.0})], **names) == {}
    assert reasons([see(rewards={"judge": None, "exact": 0.0})], **names) == {}
    assert reasons([see(rewards={"judge": 1.0})], **names) == {}


def test_the_frozen_recipe_tells_which_components_judge():
    rewards = [{"kind": "judge", "name": "clerk"}, {"kind": "exact"}, {"kind": "overlong"}, "odd"]
    snapshot = {"recipe": {"stages": [{"rewards": None}, {"rewards": rewards}]}}
    assert read_components(snapshot, 1) == (frozenset({"clerk"}), frozenset({"exact"}))
    assert read_components(snapshot, 0) == read_components({}, 3) == (frozenset(), frozenset())


SAME = "Under  Section 7 it is forbidden."


def test_one_answer_for_three_prompts_is_told_once_by_its_first_rollout():
    rollouts = [see(group, index, answer=SAME.upper() if index else SAME) for group in range(3) for index in range(2)]
    (odd,) = pick_odd([*rollouts, see(3)])
    assert (odd.seen.group, odd.seen.index) == (0, 0)
    assert odd.reasons[0].words == (
        "Gives the very same answer as for 2 other prompts of this step, each with a high reward."
    )
    assert odd.reasons[0].strength == pytest.approx(3 / 4)


def test_an_answer_that_may_just_be_right_is_no_pick():
    assert reasons([see(group, answer="B", reference="B") for group in range(4)]) == {}
    assert reasons([see(group, answer="B") for group in range(4)]) == {}
    assert reasons([see(group, answer="B", reference="AB"[group % 2]) for group in range(4)]) == {"0.0": ["answers"]}
    # Two prompts are too few, and so are many rollouts of one prompt.
    assert reasons([see(group, answer=SAME) for group in range(2)]) == {}
    assert reasons([see(group, answer=SAME, prompt="one") for group in range(4)]) == {}


def test_nothing_said_and_highly_rewarded_is_always_odd():
    assert reasons([see(group, answer="", reference="B") for group in range(3)]) == {"0.0": ["answers"]}


def test_several_reasons_add_up_and_order_the_picks():
    bad = tuple(call("same", status="rejected") for _ in range(4))
    rollouts = [see(0, calls=(call(), call(), call())), see(1, calls=bad)]
    assert reasons(rollouts) == {"1.0": ["bad_calls", "calls"], "0.0": ["calls"]}
    first, second = pick_odd(rollouts)
    assert (first.oddness, second.oddness) == (pytest.approx(1 + 4 / 8), pytest.approx(3 / 8))


def test_a_step_in_which_all_is_odd_gives_a_limited_number_of_picks():
    rollouts = [see(group, calls=(call(), call(), call())) for group in range(MOST_PICKS + 10)]
    assert len(pick_odd(rollouts)) == MOST_PICKS


def test_differences_between_answers_are_whole_words_and_lose_nothing():
    before, after = "The fine is 60 coins.", "The fine was 60 silver coins."
    found = compare_words(before, after)
    assert [(one.text, one.change) for one in found] == [
        ("The fine ", ""), ("is", "del"), ("was", "add"), (" 60 ", ""), ("silver ", "add"), ("coins.", ""),
    ]  # fmt: skip
    assert "".join(one.text for one in found if one.change != "add") == before
    assert "".join(one.text for one in found if one.change != "del") == after


def test_thai_is_compared_sign_by_sign_and_equal_texts_share_all():
    found = compare_words("โทษปรับ", "โทษจำคุก")
    assert found[0] == compare_words("โทษ", "โทษ")[0]
    assert share_kept(compare_words("โทษปรับ", "โทษปรับ")) == 1.0
    assert share_kept(compare_words("abc", "xyz")) == 0.0
    assert share_kept([]) is None
