"""Intervals of agreement: they hold the truth as often as they say, and copies of an item make nothing surer."""

import numpy as np
import pytest

from chanote.boards.judging.calibration import correct_estimate
from chanote.boards.judging.identity import Judging
from chanote.boards.judging.labels import LabelledAnswer, complete_ballots
from chanote.boards.scores import sort_answers
from chanote.boards.statistics.agreement import cohen_kappa
from chanote.boards.statistics.agreement_interval import bound_fleiss, bound_kappa

GRADES = Judging(judges=("judge",), prompt="", scale="grade", opponent="", family="f", ours=True)


def raters(draw, count, *, copied):
    """Two raters of three kinds; the second repeats the first with this probability, else guesses. κ is `copied`."""
    first = draw.integers(0, 3, count)
    second = np.where(draw.random(count) < copied, first, draw.integers(0, 3, count))
    return first.tolist(), second.tolist()


def test_the_interval_of_kappa_holds_it_nineteen_times_of_twenty():
    draw = np.random.default_rng(4)
    held = 0
    for _ in range(200):
        found = bound_kappa(*raters(draw, 120, copied=0.4), resamples=200)
        held += found.low <= 0.4 <= found.high
    assert held >= 0.95 * 200 - 3 * (200 * 0.05 * 0.95) ** 0.5


def test_copies_of_an_item_in_its_cluster_leave_the_interval_as_it_is():
    first, second = raters(np.random.default_rng(1), 80, copied=0.5)
    alone = bound_kappa(first, second)
    copied = bound_kappa(first * 3, second * 3, list(range(80)) * 3)
    assert copied.found.kappa == pytest.approx(alone.found.kappa)
    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high))
    as_if_new = bound_kappa(first * 3, second * 3)
    assert as_if_new.high - as_if_new.low < 0.7 * (alone.high - alone.low)


def test_it_bounds_the_measure_itself_and_nothing_below_twenty_items():
    first, second = raters(np.random.default_rng(2), 60, copied=0.3)
    assert bound_kappa(first, second).found == cohen_kappa(first, second)
    few = bound_kappa(first[:19], second[:19])
    assert (few.low, few.high) == (None, None)
    same = bound_kappa([1.0] * 40, [1.0] * 40)
    assert (same.found.kappa, same.low) == (None, None)
    votes = np.random.default_rng(3).multinomial(9, [0.5, 0.3, 0.2], 50)
    people = bound_fleiss(votes)
    assert people.low < people.found.kappa < people.high


def answer(item, judge, *labels):
    return LabelledAnswer(1, item, "", judge, {f"p{n}": label for n, label in enumerate(labels)})


def test_people_are_compared_on_answers_that_as_many_labelled():
    usual = [answer(f"{n}", 0.5, 0.5, 0.6) for n in range(3)]
    assert complete_ballots([*usual, answer("x", 0.5, 0.5)]) == usual


def test_a_conversation_is_one_unit_of_a_correction():
    draw = np.random.default_rng(9)
    rows, labels = [], []
    for number in range(60):
        for turn in ("1", "2"):
            value = float(draw.integers(3, 9)) / 10
            rows.append((f"{number}.{turn}", f"{number}", value, "ok"))
            if number < 30:
                labels.append(answer(f"{number}.{turn}", value, value - 0.2))
    found = correct_estimate(GRADES, sort_answers(rows), labels)
    unlabelled = [row[2] for row in rows if int(row[1]) >= 30]
    assert found.method == "prediction-powered"
    assert found.value == pytest.approx(sum(unlabelled) / len(unlabelled) - 0.2)
    assert found.labelled == 60
    # Of 19 conversations no correction is made, however many turns people labelled.
    few = correct_estimate(GRADES, sort_answers(rows), [one for one in labels if int(one.item.split(".")[0]) < 19])
    assert few.value is None
    assert "19 of the 20" in few.method


def test_labels_of_everything_stand_alone():
    rows = [(f"{n}", "", 0.9, "ok") for n in range(40)]
    labels = [answer(f"{n}", 0.9, 0.4 + 0.2 * (n % 2)) for n in range(40)]
    found = correct_estimate(GRADES, sort_answers(rows), labels)
    assert found.value == pytest.approx(0.5)
    assert found.method == "people's labels alone, Student's t"
