"""Several answers to each question: one of them right, all of them right; worked out by hand."""

import numpy as np
import pytest

from chanote.boards.models import Task
from chanote.boards.passing import estimate_passing
from chanote.boards.scores import sort_answers
from chanote.boards.statistics import compare


def make_task(repeats: int) -> Task:
    return Task(definition={"repeats": repeats, "metric": "exact_match"})


def answers(*questions: str, cluster: str = "") -> list[tuple[str, str, float | None, str]]:
    """Each question as its answers: 1 right, 0 wrong, x cut off, - left out."""
    codes = {"1": (1.0, "ok"), "0": (0.0, "ok"), "x": (None, "truncated"), "-": (None, "left_out")}
    return [
        (f"q{number}#{place}", cluster or f"law {number}", *codes[code])
        for number, given in enumerate(questions)
        for place, code in enumerate(given)
    ]


def test_one_of_k_and_all_of_k_by_hand():
    """Of four answers 4, 2, 1 and 0 are right. pass@2: 1, 5/6, 1/2, 0; pass^2: 1, 1/6, 0, 0."""
    found = estimate_passing(make_task(4), sort_answers(answers("1111", "1100", "100x", "0000")))
    assert list(found) == ["pass@2", "pass^2", "pass@4", "pass^4"]
    means = [found[name].mean for name in found]
    assert means == pytest.approx([(1 + 5 / 6 + 1 / 2) / 4, (1 + 1 / 6) / 4, 3 / 4, 1 / 4])
    assert [found[name].count for name in found] == [4, 4, 4, 4], "the question is the unit, not the answer"
    assert found["pass@4"].method == "Wilson"
    assert found["pass@2"].method == "Student's t"


def test_a_question_with_an_answer_left_out_is_left_out():
    found = estimate_passing(make_task(2), sort_answers(answers("11", "1-", "00")))
    assert (found["pass@2"].mean, found["pass@2"].count) == (0.5, 2)


def test_one_answer_each_or_graded_scores_have_none():
    assert estimate_passing(make_task(1), sort_answers(answers("1", "0"))) == {}
    graded = [("q0#0", "", 0.5, "ok"), ("q0#1", "", 1.0, "ok")]
    assert estimate_passing(make_task(2), sort_answers(graded)) == {}
    assert estimate_passing(make_task(2), sort_answers(answers("1-", "-0"))) == {}


def test_the_chance_that_a_is_better_is_that_of_a_beta():
    """3 items that A alone has right and 1 that B alone has: Beta(4, 2) is above one half with probability 26/32."""
    a = np.array([1, 1, 1, 0, 1, 0], dtype=float)
    b = np.array([0, 0, 0, 1, 1, 0], dtype=float)
    assert compare(a, b, margin=0.05).chance == pytest.approx(26 / 32)
    assert compare(b, a, margin=0.05).chance == pytest.approx(6 / 32)


def test_the_chance_is_not_told_where_it_does_not_hold():
    a, b = np.array([1.0, 0.0] * 10), np.array([0.0, 1.0] * 10)
    assert compare(a, b, margin=0.05).chance == pytest.approx(0.5)
    assert compare(a, b, clusters=[n // 2 for n in range(20)], margin=0.05).chance is None, "items hang together"
    assert compare(a / 2, b, margin=0.05).chance is None, "graded"
    assert compare(np.tile(a, 20), np.tile(b, 20), margin=0.05).chance is None, "many items: the test says it all"
