"""Row-level differences between two versions: what is added, changed, removed, and what is kept."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chanote.datasets import row_diff
from chanote.datasets.row_diff import compare_rows, pair_texts


@pytest.fixture
def compare(monkeypatch):
    """Compare lists of numbers as if they were hashes of rows."""
    monkeypatch.setattr(row_diff, "read_hashes", lambda rows: numpy.array(rows, dtype=numpy.uint64))

    def make(old, new):
        found = compare_rows(old, new)
        return [tuple(pair) for pair in found.pairs.tolist()], found.kept

    return make


def test_a_row_between_the_same_neighbours_is_changed(compare):
    assert compare([1, 2, 3, 4], [1, 9, 3, 4]) == ([(2, 2)], 3)


def test_rows_that_went_and_came_elsewhere_are_told_apart(compare):
    assert compare([1, 2, 3, 4], [1, 3, 4, 9]) == ([(2, 0), (0, 4)], 3)


def test_a_split_row_is_one_change_and_one_addition(compare):
    assert compare([1, 2, 3], [1, 8, 9, 3]) == ([(2, 2), (0, 3)], 2)


def test_equal_rows_count_as_often_as_they_occur(compare):
    assert compare([1, 5, 5, 5, 2], [1, 5, 2]) == ([(3, 0), (4, 0)], 3)


def test_order_alone_is_no_difference(compare):
    assert compare([1, 2, 3], [3, 1, 2]) == ([], 3)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 6), max_size=12), st.lists(st.integers(1, 6), max_size=12))
def test_each_row_is_kept_or_told_once(old, new):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_diff, "read_hashes", lambda rows: numpy.array(rows, dtype=numpy.uint64))
        found = compare_rows(old, new)
    olds, news = ([int(one) for one in found.pairs[:, side] if one] for side in (0, 1))
    assert len(set(olds)) == len(olds) == len(old) - found.kept
    assert len(set(news)) == len(news) == len(new) - found.kept
    gone, come = sorted(old[one - 1] for one in olds), sorted(new[one - 1] for one in news)
    assert not set(gone) & set(come)
    assert sum(found.counts.values()) == len(found.pairs)


def test_texts_of_a_row_are_paired_by_field_and_turn():
    before = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "x": 1}
    after = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}], "y": ["p", "q"]}
    assert pair_texts(before, after) == [("assistant 2", "b", "c"), ("x", "1", ""), ("y 1", "", "p"), ("y 2", "", "q")]
