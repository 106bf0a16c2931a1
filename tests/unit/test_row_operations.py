"""Operations on rows: what each does, and that replaying any sequence gives what doing it step by step gives."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chanote.curation.operations import (
    ReplayError,
    change_row,
    count_rows,
    ranges_of,
    removed_by,
    replay,
    subtract,
    to_ranges,
)

ROWS = 9


def rows(count=ROWS):
    return [({"text": f"row {number}"}, number) for number in range(1, count + 1)]


def texts(operations, count=ROWS):
    return [content["text"] for content, _ in replay(rows(count), operations)]


def test_each_operation_does_what_it_says():
    operations = [
        {"op": "edit", "row": 2, "content": {"text": "second"}},
        {"op": "reject", "rows": [[3, 4]], "why": "empty"},
        {"op": "merge", "merged": [5, 9], "content": {"text": "five and nine"}},
        {"op": "split", "row": 6, "contents": [{"text": "6a"}, {"text": "6b"}]},
    ]
    assert texts(operations) == ["row 1", "second", "five and nine", "6a", "6b", "row 7", "row 8"]


def test_flags_and_labels_lie_in_the_row_and_leave_nothing_behind():
    flag = {"op": "flag", "rows": [[1, 2]], "flag": "odd"}
    label = {"op": "label", "rows": [[1, 1]], "name": "quality", "value": "good"}
    (first, _), (second, _) = replay(rows(2), [flag, label])
    assert first == {"text": "row 1", "curation": {"flags": ["odd"], "labels": {"quality": "good"}}}
    assert second == {"text": "row 2", "curation": {"flags": ["odd"]}}
    undone = [{**flag, "op": "unflag"}, {**label, "value": None}]
    assert [content for content, _ in replay(rows(2), [flag, label, *undone])] == [one for one, _ in rows(2)]


def test_the_source_travels_with_the_row():
    operations = [
        {"op": "split", "row": 1, "contents": [{"text": "a"}, {"text": "b"}]},
        {"op": "reject", "rows": [[2, 2]], "why": ""},
    ]
    assert [(content["text"], tag) for content, tag in replay(rows(3), operations)] == [
        ("a", 1),
        ("b", 1),
        ("row 3", 3),
    ]


def test_what_does_not_fit_says_which_row_and_why():
    with pytest.raises(ReplayError, match="Row 2 is gone already"):
        texts([{"op": "reject", "rows": [[2, 2]], "why": ""}, {"op": "edit", "row": 2, "content": {}}])
    with pytest.raises(ReplayError, match="names row 12; there are 9"):
        texts([{"op": "flag", "rows": [[12, 12]], "flag": "x"}])
    split = {"op": "split", "row": 1, "contents": [{"text": "a"}, {"text": "b"}]}
    with pytest.raises(ReplayError, match="Row 1 was split into 2"):
        texts([split, {"op": "edit", "row": 1, "content": {}}])
    with pytest.raises(ReplayError, match="a field 'curation' of its own"):
        list(replay([({"text": "x", "curation": "mine"}, 1)], [{"op": "flag", "rows": [[1, 1]], "flag": "x"}]))


numbers = st.integers(1, ROWS)
ranges = st.sets(numbers, min_size=1).map(to_ranges)
contents = st.builds(lambda text: {"text": text}, st.text("กขab ", min_size=1, max_size=4))
words = st.sampled_from(["a", "b"])
several = st.lists(contents, min_size=2, max_size=3)
some = st.sets(numbers, min_size=2, max_size=3).map(sorted)
marks = st.sampled_from(["flag", "unflag"])
operations = st.one_of(
    st.fixed_dictionaries({"op": st.just("edit"), "row": numbers, "content": contents}),
    st.fixed_dictionaries({"op": st.just("reject"), "rows": ranges}),
    st.fixed_dictionaries({"op": marks, "rows": ranges, "flag": words}),
    st.fixed_dictionaries({"op": st.just("label"), "rows": ranges, "name": words, "value": st.none() | words}),
    st.fixed_dictionaries({"op": st.just("merge"), "merged": some, "content": contents}),
    st.fixed_dictionaries({"op": st.just("split"), "row": numbers, "contents": several}),
    st.fixed_dictionaries({"op": st.just("deduplicate"), "rows": ranges}),
)


def do_step_by_step(sequence):
    """The slow way: the whole table after each operation. Steps that do not fit are left out, and so said."""
    table = {number: [content] for content, number in rows()}
    kept = []
    for operation in sequence:
        touched = [row for first, last in ranges_of(operation) for row in range(first, last + 1)]
        try:
            changed = {row: change_row(operation, row, table[row]) for row in touched}
        except ReplayError:
            continue
        table |= changed
        kept.append(operation)
    return kept, [part for number in sorted(table) for part in table[number]]


@settings(max_examples=200, deadline=None)
@given(st.lists(operations, max_size=12))
def test_one_pass_gives_what_step_by_step_gives(sequence):
    kept, table = do_step_by_step(sequence)
    assert [content for content, _ in replay(rows(), kept)] == table


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(1, 40)), st.lists(st.sets(st.integers(1, 40)), max_size=3))
def test_ranges_are_sets_of_rows(asked, taken):
    left = subtract(to_ranges(asked), [to_ranges(one) for one in taken])
    expected = asked.difference(*taken)
    assert {row for first, last in left for row in range(first, last + 1)} == expected
    assert count_rows(left) == len(expected)


def test_a_merge_removes_all_but_its_first_row():
    assert removed_by([{"op": "merge", "merged": [2, 5, 7], "content": {}}]) == [[[5, 5], [7, 7]]]
