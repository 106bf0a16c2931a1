"""Slices of items: who was right, what failed and how, what differs over samples; and what differs in two answers."""

import re

import pytest
from django.urls import reverse

from chanote.boards.answer_diff import LONGEST, compare_answers, split_pieces
from chanote.boards.models import Evaluation, Sample
from chanote.boards.scores import keep_scores, sort_answers
from chanote.boards.slices import find_slices
from tests.board_rows import BoardRows

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static")]
SAMPLES = reverse("boards:samples", args=["law", "suite"])
API = "/api/v1/projects/law/boards/suite/"


@pytest.fixture
def rows(project, tmp_path):
    return BoardRows(project, tmp_path)


def restate(evaluation, statuses):
    """Write the statuses of some items as an import would have."""
    for item, status in statuses.items():
        evaluation.samples.filter(item=item).update(status=status)
    answers = evaluation.samples.values_list("item", "cluster", "score", "status")
    keep_scores(evaluation, sort_answers(answers))
    evaluation.failed = evaluation.samples.exclude(status__in=["ok", "left_out"]).count()
    evaluation.left_out = evaluation.samples.filter(status="left_out").count()
    evaluation.save()


def counts(slices):
    return {name: count for name, _, count in slices.count()}


def test_every_slice_has_its_items(rows):
    task = rows.task("sums")
    a = rows.score("one", task, [1.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    b = rows.score("two", task, [1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    restate(a, {"item-3": "truncated", "item-4": "left_out"})
    restate(b, {"item-5": "unparsable"})
    found = find_slices(a, b, higher_is_better=True)
    assert found.items == {
        "both": ["item-0"],
        "only_a": ["item-1"],
        "only_b": ["item-2"],
        "neither": ["item-3", "item-5"],
        "flaky": [],
        "truncated": ["item-3"],
        "unparsable": ["item-5"],
        "judge_failed": ["item-4"],
        "tool_errors": [],
    }
    assert counts(find_slices(a, None, higher_is_better=True)) == {
        "flaky": 0, "truncated": 1, "unparsable": 0, "judge_failed": 1, "tool_errors": 0,
    }  # fmt: skip
    assert counts(find_slices(a, b, higher_is_better=True, without=frozenset({"item-3", "item-4"})))["truncated"] == 0


def test_an_item_that_comes_out_differently_is_flaky(rows):
    task = rows.task("drawn", repeats=2, generation_kwargs={"temperature": 1.0})
    one = rows.score("one", task, [1.0, 0.0, 1.0, 1.0])
    for old, new in {"item-0": "x#1", "item-1": "x#2", "item-2": "y#1", "item-3": "y#2"}.items():
        one.samples.filter(item=old).update(item=new)
    restate(one, {})
    assert find_slices(one, None, higher_is_better=True).items["flaky"] == ["x#1", "x#2"]


def test_an_item_that_another_seed_answers_otherwise_is_flaky(rows):
    task = rows.task("sums")
    first = rows.score("one", task, [1.0, 0.0, 1.0])
    rows.score("one", task, [1.0, 1.0, 1.0])
    assert Evaluation.objects.filter(model=first.model).count() == 2
    assert find_slices(first, None, higher_is_better=True).items["flaky"] == ["item-1"]


def test_calls_that_failed_and_judges_that_did_are_told_apart(rows):
    task = rows.task("sums")
    one = rows.score("one", task, [1.0, 0.0, 1.0, 0.0])
    Sample.objects.filter(evaluation=one).update(episode={"tool_errors": 0, "malformed_calls": 0, "stop_reason": "x"})
    wrong = {"item-1": {"tool_errors": 2}, "item-2": {"stop_reason": "service_failed"}}
    for item, told in wrong.items():
        sample = one.samples.get(item=item)
        sample.episode |= told
        sample.save()
    restate(one, {"item-2": "left_out", "item-3": "left_out"})
    found = find_slices(one, None, higher_is_better=True).items
    assert (found["tool_errors"], found["judge_failed"]) == (["item-1", "item-2"], ["item-3"])


def test_the_page_counts_slices_says_that_they_are_exploratory_and_is_walked_by_keys(rows, browser):
    task = rows.task("sums")
    rows.score("one", task, [1.0, 1.0, 0.0, None])
    rows.score("two", task, [1.0, 0.0, 1.0, 0.0])
    page = browser.get(f"{SAMPLES}?task=sums@1&a=one&b=two&cell=only_a").content.decode()
    assert '<option value="only_a" selected>only one right (1)</option>' in page
    assert '<option value="unparsable">unparsable: no answer was found in it (1)</option>' in page
    assert "Exploratory: a slice is chosen after the answers were seen." in page
    assert len(re.findall("data-walk", page)) == 1
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page))
    assert "only one: forty, end" in text
    assert "only two: wrong, end" in text


def test_the_same_over_rest(rows, browser):
    task = rows.task("sums")
    rows.score("one", task, [1.0, 1.0, 0.0])
    rows.score("two", task, [1.0, 0.0, 1.0])
    told = browser.get(f"{API}slices/?task=sums@1&a=one&b=two").json()
    assert {one["slice"]: one["items"] for one in told["slices"]} | {"both": 1, "only_a": 1, "only_b": 1} == {
        one["slice"]: one["items"] for one in told["slices"]
    }
    assert told["note"].startswith("Exploratory")
    (item,) = browser.get(f"{API}items/?task=sums@1&a=one&b=two&slice=only_b").json()["results"]
    assert (item["item"], item["a"]["score"], item["b"]["score"]) == ("item-2", 0.0, 1.0)
    assert "".join(one["text"] for one in item["diff"] if one["change"] != "add") == item["a"]["output"]
    assert "".join(one["text"] for one in item["diff"] if one["change"] != "del") == item["b"]["output"]
    assert browser.get(f"{API}items/?task=sums@1&a=one&slice=only_a").status_code == 400
    assert browser.get(f"{API}items/?task=sums@1&a=nobody").status_code == 404
    assert browser.get(f"{API}items/?task=none@1&a=one").status_code == 404


def test_a_stranger_learns_of_no_slice(rows, client_of, stranger):
    rows.score("one", rows.task("sums"), [1.0, 1.0])
    assert client_of(stranger).get(f"{API}slices/?task=sums@1&a=one").status_code == 404
    assert client_of(stranger).get(f"{API}items/?task=sums@1&a=one").status_code == 404


@pytest.mark.parametrize(
    ("a", "b", "gone", "new"),
    [
        ("the fine is 500 baht.", "the fine is 5,000 baht.", ["500"], ["5,000"]),
        (
            "ผู้เช่าไม่ชำระค่าเช่าติดต่อกันสองเดือน",
            "ผู้เช่าไม่ชำระค่าเช่าติดต่อกันสามเดือน",
            ["สอง"],
            ["สาม"],
        ),
        ("same", "same", [], []),
        ("", "new", [], ["new"]),
    ],
)
def test_answers_are_compared_by_words_also_where_none_are_spaced(a, b, gone, new):
    passages, left = compare_answers(a, b)
    assert [one.text for one in passages if one.change == "del"] == gone
    assert [one.text for one in passages if one.change == "add"] == new
    assert left == 0


def test_pieces_are_the_text_and_long_answers_say_what_was_not_compared():
    text = "มาตรา ๕๖๐ §12, a_b\n\t漢字 x\u200by é 1.5"
    assert "".join(split_pieces(text)) == text
    passages, left = compare_answers("a " * LONGEST, "a " * LONGEST)
    assert left == 2 * LONGEST
    assert [one.change for one in passages] == [""]


def test_what_an_answer_says_is_never_markup(rows, browser):
    task = rows.task("sums")
    one, two = rows.score("one", task, [1.0, 0.0]), rows.score("two", task, [0.0, 0.0])
    Sample.objects.filter(evaluation__in=[one.pk, two.pk]).update(output="<script>alert(1)</script>")
    one.samples.filter(item="item-0").update(output="<b>x</b>")
    page = browser.get(f"{SAMPLES}?task=sums@1&a=one&b=two").content.decode()
    assert "<script>alert" not in page
    assert "<b>x</b>" not in page
