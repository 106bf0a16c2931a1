"""Ratios of sums over a corpus: by hand, against the bootstrap, by simulation, and as a board shows them."""

import math

import numpy as np
import pytest

from chanote.boards.ratios import READERS, read_ratios
from chanote.boards.selectors import describe_board, read_board
from chanote.boards.statistics.bootstrap import bootstrap_metric
from chanote.boards.statistics.ratio import divide_sums, estimate_ratio
from tests.board_rows import BoardRows


def draw(generator, count, *, precision=0.7):
    """Citations of so many answers: how many were made, and how many of them are right."""
    made = generator.integers(0, 6, count)
    return generator.binomial(made, precision), made


def test_the_delta_method_by_hand():
    above, below = [1.0, 2.0] * 200, [2.0, 2.0] * 200
    found = estimate_ratio(above, below)
    assert found.mean == 0.75
    # e = (±0.5)/800 for each of 400 items.
    assert found.error == pytest.approx(math.sqrt(400 / 399 * 400 * (0.5 / 800) ** 2))
    assert found.method == "delta method"


def test_where_all_divide_by_the_same_a_ratio_is_a_mean():
    values = np.random.default_rng(1).random(500)
    found = estimate_ratio(values, np.ones(500))
    assert found.error == pytest.approx(values.std(ddof=1) / math.sqrt(500))


def test_both_methods_agree_where_both_can_be_used():
    above, below = draw(np.random.default_rng(2), 600)
    delta = estimate_ratio(above, below)
    drawn = bootstrap_metric(np.stack([above, below], axis=1).astype(float), divide_sums, resamples=2_000)
    assert delta.error == pytest.approx(drawn.error, rel=0.08)
    assert delta.low == pytest.approx(drawn.low, abs=0.005)


def test_few_clusters_have_no_interval_and_nothing_to_divide_by_has_no_number():
    assert estimate_ratio([1.0] * 19, [2.0] * 19).low is None
    assert "19 independent items, 20 are needed" in estimate_ratio([1.0] * 19, [2.0] * 19).method
    assert estimate_ratio([0.0] * 30, [0.0] * 30).mean is None
    assert estimate_ratio([], []).mean is None
    found = estimate_ratio(*draw(np.random.default_rng(3), 100), clusters=[f"c{n % 25}" for n in range(100)])
    assert found.method == "BCa bootstrap of 25 clusters"


def test_an_item_repeated_in_its_cluster_changes_nothing():
    above, below = draw(np.random.default_rng(4), 400)
    names = [str(n) for n in range(400)]
    once = estimate_ratio(above, below, clusters=names)
    twice = estimate_ratio(np.repeat(above, 2), np.repeat(below, 2), clusters=np.repeat(names, 2).tolist())
    assert twice.error == pytest.approx(once.error)
    assert twice.error > 1.3 * estimate_ratio(np.repeat(above, 2), np.repeat(below, 2)).error


def test_intervals_of_the_delta_method_cover():
    generator = np.random.default_rng(5)
    held = 0
    for _ in range(1_000):
        found = estimate_ratio(*draw(generator, 400))
        held += found.low <= 0.7 <= found.high
    assert 0.93 <= held / 1_000 <= 0.97


def test_each_metric_adds_what_it_counts():
    read = READERS["citations"]
    assert read({"met": 1, "cited": 2, "right": 3}, "", {}) == {
        "corpus precision": (1, 2), "corpus recall": (1, 3), "corpus F1": (2, 5),
    }  # fmt: skip
    swapped = read({"met": 1, "cited": 2, "right": 3}, "", {"compat": "nitibench"})
    assert (swapped["corpus precision"], swapped["corpus recall"]) == ((1, 3), (1, 2))
    assert read({"reason": "cut"}, "", {}) is None
    bits = READERS["perplexity"]({"loglikelihood": -math.log(2) * 10}, "ก", {})
    assert bits == {"corpus bits per byte": (pytest.approx(10), 3)}
    assert READERS["intent_slots"]({"right": 1, "written": 2, "wanted": 2}, "", {})["slot F1"] == (2, 4)


@pytest.mark.django_db
def test_a_board_shows_the_ratio_with_interval_and_method(project, tmp_path):
    rows = BoardRows(project, tmp_path)
    task = rows.task("read", output_type="loglikelihood_rolling", metric="perplexity")
    one = rows.score("one", task, [1.0 + n % 3 for n in range(40)])
    for place, sample in enumerate(one.samples.all()):
        sample.target, sample.detail = "x" * (8 + place), {"loglikelihood": -math.log(2) * (8 + place) * 1.5}
        sample.save()
    (ratio,) = read_ratios(task, [one.pk])[one.pk].values()
    assert ratio.mean == pytest.approx(1.5)
    (table,) = describe_board(read_board(rows.board))
    told = table["models"][0]["corpus"]["corpus bits per byte"]
    assert told["mean"] == pytest.approx(1.5)
    assert told["method"] == "bootstrap: every cluster says the same"
