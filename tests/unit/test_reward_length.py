"""Rewards of length against values worked out by hand from the papers' formulas."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from tests.reward_rows import answer, fault, rewards, value
from trainer.contract.rewards import check_longest
from trainer.contract.rewards.cosine import CosineReward
from trainer.contract.rewards.overlong import OverlongReward
from trainer.rewards import check_rows, score_all

EXACT = {"kind": "exact", "weight": 0}


def shaped(config: dict[str, Any], *, right: bool, tokens: int, longest: int = 100, row: dict[str, Any] | None = None):
    """The value of a length reward that asks `exact` whether the answer is correct."""
    one = answer("7", tokens=tokens, longest=longest, row={"answer": "7" if right else "8", **(row or {})})
    [scored] = score_all(rewards(EXACT, {"correct": "exact", **config}), [one])
    assert scored.faults == {}
    assert scored.total == scored.components[config["kind"]]
    return scored.total


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(0, 0.0), (3071, 0.0), (3072, 0.0), (3073, -1 / 1024), (3500, -428 / 1024), (3584, -0.5), (4096, -1), (5000, -1)],
)
def test_overlong_falls_over_the_buffer(tokens: int, expected: float):
    assert value({"kind": "overlong", "buffer": 1024}, answer(tokens=tokens, longest=4096)) == expected
    assert value({"kind": "overlong", "limit": 4096}, answer(tokens=tokens, longest=8192)) == expected


def test_overlong_at_3500_of_4096_is_what_typhoon_s_computes():
    assert value({"kind": "overlong"}, answer(tokens=3500, longest=4096)) == pytest.approx(-0.418, abs=5e-4)


def test_a_buffer_longer_than_the_limit_is_refused():
    with pytest.raises(ValidationError, match="buffer 10 is more than limit 9; make it smaller"):
        OverlongReward(buffer=10, limit=9)
    assert check_longest([OverlongReward(buffer=10, limit=20)], 15) == [
        "rewards[0].limit: 20 is more than the 15 tokens that are sampled at most; make it smaller"
    ]


@pytest.mark.parametrize(("tokens", "expected"), [(1000, 0.0), (0, -0.3), (1500, -0.15), (900, -0.03), (11000, -3.0)])
def test_lcpo_costs_alpha_for_every_token_off_the_target(tokens: int, expected: float):
    one = answer(tokens=tokens, row={"target_tokens": 1000})
    assert value({"kind": "lcpo"}, one) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(1000, 0.5), (0, 0.8), (2000, 0.2), (2666, 0.0002), (2667, 0.0), (9000, 0.0)],
)
def test_lcpo_max_tolerates_a_slight_overrun_of_correct_answers(tokens: int, expected: float):
    row = {"target_tokens": "1000"}
    assert shaped({"kind": "lcpo_max"}, right=True, tokens=tokens, row=row) == pytest.approx(expected, abs=1e-9)
    assert shaped({"kind": "lcpo_max"}, right=False, tokens=tokens, row=row) == 0.0


def test_lcpo_max_never_gives_more_than_one():
    assert shaped({"kind": "lcpo_max", "target": 4000}, right=True, tokens=0) == 1.0
    assert shaped({"kind": "lcpo_max", "target": 4000}, right=True, tokens=2300) == 1.0
    assert shaped({"kind": "lcpo_max", "target": 4000}, right=True, tokens=2400) == pytest.approx(0.98)


@pytest.mark.parametrize("field", [None, "many", 0, -5, 1.5, True, ""])
def test_a_row_that_asks_for_no_length_is_a_fault_and_refused_before_launch(field: Any):
    row = {} if field is None else {"target_tokens": field}
    assert "target_tokens" in fault({"kind": "lcpo"}, answer(row=row))
    [error] = check_rows(rewards({"kind": "lcpo"}), [row], path="rewards", dataset="ask@1")
    assert error.startswith("rewards[0] (lcpo): 1 of 1 rows of ask@1 give it nothing to compare with (row 1 has")
    assert check_rows(rewards({"kind": "lcpo", "target": 5}), [row], path="rewards", dataset="ask@1") == []


@pytest.mark.parametrize(
    ("right", "tokens", "expected"),
    [
        (True, 0, 1.0),
        (True, 50, 0.75),
        (True, 25, 0.5 + 0.25 * (1 + math.sqrt(0.5))),
        (False, 0, -1.0),
        (False, 50, -0.75),
        (False, 75, -0.5 - 0.25 * (1 - math.sqrt(0.5))),
        (True, 99, 0.5 + 0.25 * (1 + math.cos(0.99 * math.pi))),
        (True, 100, -1.0),
        (False, 100, -1.0),
        (True, 150, -1.0),
    ],
)
def test_cosine_prefers_short_when_correct_and_long_when_wrong(right: bool, tokens: int, expected: float):
    assert shaped({"kind": "cosine"}, right=right, tokens=tokens) == pytest.approx(expected)


def test_cosine_with_other_ends_and_limit():
    wide = {"kind": "cosine", "correct_short": 2, "correct_long": 1, "wrong_short": -10, "wrong_long": 0, "limit": 60}
    assert shaped(wide, right=True, tokens=30) == pytest.approx(1.5)
    assert shaped(wide, right=False, tokens=20) == pytest.approx(-7.5)
    assert shaped({**wide, "exceed": -10}, right=True, tokens=60) == -10
    assert check_longest([CosineReward(correct="exact", limit=101)], 100) == [
        "rewards[0].limit: 101 is more than the 100 tokens that are sampled at most; make it smaller"
    ]


def test_kimi_compares_lengths_within_a_group_only():
    listed = rewards(EXACT, {"kind": "kimi", "correct": "exact"})
    first = [answer("7", tokens=10, group=0), answer("7", tokens=20, group=0), answer("8", tokens=30, group=0)]
    second = [answer("8", tokens=100, group=1), answer("7", tokens=200, group=1), answer("8", tokens=125, group=1)]
    mixed = [first[0], second[0], first[1], second[1], first[2], second[2]]
    assert [one.components["kimi"] for one in score_all(listed, mixed)] == [0.5, 0.0, 0.0, -0.5, -0.5, 0.0]


def test_kimi_gives_a_wrong_long_answer_its_loss_and_a_wrong_short_one_nothing():
    listed = rewards(EXACT, {"kind": "kimi", "correct": "exact"})
    group = [answer("8", tokens=0, group=0), answer("8", tokens=80, group=0), answer("7", tokens=100, group=0)]
    assert [one.total for one in score_all(listed, group)] == [0.0, pytest.approx(-0.3), -0.5]


def test_kimi_says_nothing_about_answers_of_one_length_or_without_a_group():
    listed = rewards(EXACT, {"kind": "kimi", "correct": "exact"})
    assert [one.total for one in score_all(listed, [answer(group=3), answer(group=3)])] == [0.0, 0.0]
    [alone] = score_all(listed, [answer()])
    assert alone.faults == {"kimi": "The answer belongs to no group, so there is nothing to compare its length with."}


@pytest.mark.parametrize("kind", ["lcpo_max", "cosine", "kimi"])
def test_a_length_reward_fails_with_the_reward_that_knows_what_is_correct(kind: str):
    listed = rewards(EXACT, {"kind": kind, "correct": "exact"})
    known, unknown = answer(group=0, row={"answer": "7", "target_tokens": 5}), answer(group=0, row={"target_tokens": 5})
    good, bad = score_all(listed, [known, unknown])
    assert good.total is not None
    assert bad.total is None
    assert bad.faults == {
        "exact": "The row has no `answer`.",
        kind: "The reward exact failed, so nobody knows whether the answer is correct.",
    }


def test_half_right_is_not_correct_unless_the_recipe_says_so():
    listed = rewards({"kind": "script", "scripts": ["Thai"]}, {"kind": "kimi", "correct": "script", "correct_at": 0.5})
    group = [answer("กa", tokens=10, group=0), answer("aaa", tokens=10, group=0), answer("a", tokens=20, group=0)]
    assert [one.components["kimi"] for one in score_all(listed, group)] == [0.5, 0.0, -0.5]


def test_a_length_reward_must_say_what_correct_means():
    with pytest.raises(ValidationError, match="correct"):
        rewards(EXACT, {"kind": "cosine"})
    with pytest.raises(ValidationError, match=r"rewards\[1\].correct: no reward before it is named numeric; use exact"):
        rewards(EXACT, {"kind": "cosine", "correct": "numeric"})


@pytest.mark.parametrize(
    ("settings", "text", "expected"),
    [
        ({"size": 3}, "abcabc", -(1 - 3 / 4)),
        ({"size": 2}, "aaaaa", -(1 - 1 / 4)),
        ({"size": 1}, "ab", 0.0),
        ({"size": 7}, "abcabc", 0.0),
        ({"size": 6}, "abcabc", 0.0),
        ({"size": 1, "tolerated": 0.5}, "aaab", 0.0),
        ({"size": 1, "tolerated": 0.5}, "aaaa", -0.5),
        ({"size": 2, "unit": "words"}, "no no  no\nno", -(1 - 1 / 3)),
        ({"size": 2, "unit": "words"}, "ไม่ไม่ไม่ไม่", 0.0),
        ({"size": 3}, "", 0.0),
    ],
)
def test_repetition_costs_the_share_of_repeated_pieces(settings: dict[str, Any], text: str, expected: float):
    assert value({"kind": "repetition", **settings}, answer(text)) == pytest.approx(expected)


def test_a_text_without_end_is_weighed_quickly():
    assert value({"kind": "repetition"}, answer("ขอ " * 50_000)) == pytest.approx(-1, abs=1e-3)
