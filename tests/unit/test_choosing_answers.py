"""Which of a teacher's answers become data, worked out by hand."""

import re

import pytest

from chanote.building.kinds.sampling import list_turns, read_rewards
from chanote.building.sampling.choosing import Choice, Sampled, choose, read_answers

A = Sampled(0, "a long answer", 9, reward=1.0)
B = Sampled(1, "short", 4, reward=1.0)
C = Sampled(2, "wrong", 2, reward=0.0)
D = Sampled(3, "middling", 5, reward=0.5)
E = Sampled(4, "broken", 1, reward=None, fault="judge: away")
ALL = [A, B, C, D, E]


def numbers(choice: Choice) -> list[int]:
    return [one.number for one in choice.kept]


def reasons(choice: Choice) -> dict[int, str]:
    return {one.number: reason for one, reason in choice.left}


def test_rejection_sampling_keeps_every_answer_that_reaches_the_least_reward():
    choice = choose(ALL, "all", least=0.5)
    assert numbers(choice) == [1, 0, 3]
    assert reasons(choice) == {2: "its reward is too low", 4: "could not be valued"}
    assert numbers(choose(ALL, "all", least=None)) == [1, 0, 3, 2]


def test_the_best_of_n_is_the_shorter_one_of_two_equals():
    assert numbers(choose(ALL, "best", least=None)) == [1]
    assert numbers(choose([C, D], "best", least=0.8)) == []


def test_the_shortest_right_answer_wins_whatever_the_rewards_above_the_least():
    better = Sampled(5, "excellent but long", 30, reward=3.0)
    choice = choose([*ALL, better], "shortest_correct", least=1.0)
    assert numbers(choice) == [1]
    assert reasons(choice)[5] == "a shorter one is right too"


def test_a_pair_is_the_best_and_the_worst_and_ties_make_none():
    assert numbers(choose(ALL, "best_and_worst", least=None)) == [1, 2]
    assert numbers(choose([A, B], "best_and_worst", least=None)) == []
    assert numbers(choose([A, D], "best_and_worst", least=None, difference=0.5)) == []
    assert numbers(choose([D, C], "best_and_worst", least=0.8)) == []
    assert reasons(choose([A], "best_and_worst", least=None)) == {0: "no second answer to compare with"}


def test_nothing_is_left_to_chance():
    first = Sampled(0, "one", 3, reward=1.0)
    second = Sampled(1, "two", 3, reward=1.0)
    assert numbers(choose([second, first], "best", least=None)) == [0]


def test_lengths_are_tokens_only_where_all_were_counted():
    answers = [
        {"number": 0, "text": "four", "tokens": 1, "counted": True},
        {"number": 1, "text": "seventy", "tokens": 2, "counted": True},
    ]
    assert [one.length for one in read_answers({"answers": answers})] == [1, 2]
    answers[1]["counted"] = False
    assert [one.length for one in read_answers({"answers": answers})] == [4, 7]


def test_equal_answers_count_once():
    answers = [{"number": number, "text": "same", "tokens": 1, "counted": True} for number in range(3)]
    assert [one.number for one in read_answers({"answers": answers})] == [0]


@pytest.mark.parametrize(
    ("row", "asked", "reason"),
    [
        ({"question": "q", "answer": "a"}, [("system", "s"), ("user", "q")], ""),
        (
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
            [("system", "s"), ("user", "q")],
            "",
        ),
        (
            {"messages": [{"role": "system", "content": "own"}, {"role": "user", "content": "q"}]},
            [("system", "own"), ("user", "q")],
            "",
        ),
        ({"messages": [{"role": "assistant", "content": "a"}]}, [], "holds no question"),
        (
            {"messages": [{"role": "user", "content": "q"}, {"role": "tool", "content": "x"}]},
            [],
            "holds turns of tools, which this endpoint is not given",
        ),
    ],
)
def test_what_is_asked_is_the_conversation_up_to_its_last_question(row, asked, reason):
    turns, why = list_turns(row, "s")
    assert ([(turn["role"], turn["content"]) for turn in turns], why) == (asked, reason)


def test_rewards_are_read_as_a_recipe_has_them():
    assert [reward.kind for reward in read_rewards("- kind: exact\n- {kind: repetition, weight: -1}")] == [  # type: ignore[attr-defined]
        "exact",
        "repetition",
    ]
    assert read_rewards("  ") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- kind: [", "cannot be read as YAML"),
        ("kind: exact", "rewards: must be a list."),
        ("- kind: nothing", "rewards[0].kind: nothing is no kind of reward; use one of abstention, "),
        ("- {kind: exact, weight: 0}", "rewards: every weight is 0"),
        ("- {kind: exact, weight: .inf}", "must be a finite number (line 1)"),
        ("- {kind: exact}\n- {kind: exact}", "rewards[1].name: "),
    ],
)
def test_rewards_that_cannot_be_read_are_told_in_a_sentence(text, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        read_rewards(text)
