"""Rewards for episodes with tools and for the truth of citations, by values worked out by hand."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.law_rows import write_corpus
from tests.reward_rows import ADAPTER, answer, fault, rewards, value
from tests.sandbox_serving import serve_tools
from trainer.contract.rewards import check_reachable
from trainer.rewards import check_rows
from trainer.rewards.base import ToolUse

REVENUE, ACCOUNTS = "ประมวลรัษฎากร", "พระราชบัญญัติการบัญชี พ.ศ. 2543"


@pytest.mark.parametrize(
    ("calls", "options", "worth"),
    [
        ([], {}, 0.0),
        ([ToolUse("search_law", "ok")], {}, 1.0),
        ([ToolUse("search_law", "ok"), ToolUse("", "rejected")], {}, 0.5),
        ([ToolUse("search_law", "ok"), ToolUse("", "rejected")], {"fewest": 2}, 0.0),
        ([ToolUse("run_python", "error")], {}, 1.0),  # a program that fails was called rightly
        ([ToolUse("search_law", "ok"), ToolUse("read_law", "error")], {"tools": ["read_law"]}, 0.5),
        ([ToolUse("search_law", "ok")], {"tools": ["read_law"]}, 0.0),
    ],
)
def test_the_form_of_calls(calls: list[ToolUse], options: dict[str, Any], worth: float):
    assert value({"kind": "tool_form", **options}, answer("", calls=calls)) == worth


GOLD = {"answer": "x", "citations": [{"law": REVENUE, "section": "65 ทวิ"}, {"law": ACCOUNTS, "section": "8"}]}


@pytest.mark.parametrize(
    ("calls", "options", "worth"),
    [
        ([], {}, 0.0),
        ([ToolUse("read_law", "ok", ((REVENUE, "65 ทวิ"),))], {}, 0.5),
        (
            [ToolUse("read_law", "ok", ((REVENUE, "๖๕ ทวิ"),)), ToolUse("read_law", "ok", (("พระราชบัญญัติการบัญชี", "8"),))],
            {},
            1.0,
        ),
        ([ToolUse("search_law", "ok", ((REVENUE, "65 ทวิ"), (ACCOUNTS, "8")))], {}, 0.0),
        (
            [ToolUse("search_law", "ok", ((REVENUE, "65 ทวิ"), (REVENUE, "1")))],
            {"tools": ["search_law", "read_law"]},
            0.5,
        ),
        ([ToolUse("read_law", "ok", ((REVENUE, "65"),))], {}, 0.0),
    ],
)
def test_gold_sections_that_were_looked_at(calls: list[ToolUse], options: dict[str, Any], worth: float):
    assert value({"kind": "gold_section", **options}, answer("", row=GOLD, calls=calls)) == worth


def test_rows_without_gold_are_found_before_the_run():
    listed = rewards({"kind": "gold_section"}, {"kind": "abstention"})
    rows = [{"citations": "65", "answerable": "yes"}]
    gold, abstention = check_rows(listed, rows, path="rewards", dataset="ask@1")
    assert "a `citations` that is no list of `law` and `section`" in gold
    assert "no `answerable` that is true or false" in abstention


@pytest.mark.parametrize(
    ("text", "answerable", "worth"),
    [
        ("There is no such section.", False, 1.0),
        ("There is no such section.", True, 0.0),
        ("ไม่มีมาตรา 999 ในประมวลรัษฎากร", False, 1.0),
        ("It is section 12.", True, 1.0),
        ("It is section 12.", False, 0.0),
        ("", False, 0.0),
    ],
)
def test_abstaining_where_there_is_nothing_to_say(text: str, answerable: bool, worth: float):
    assert value({"kind": "abstention"}, answer(text, row={"answer": "x", "answerable": answerable})) == worth


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("laws")
    with serve_tools(folder, "--no-code", "--corpus", write_corpus(folder / "laws.jsonl")) as address:
        yield address


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("ตามมาตรา 65 ทวิ แห่งประมวลรัษฎากร", 1.0),
        ("ตามมาตรา 65 ทวิ และมาตรา 999 แห่งประมวลรัษฎากร", 0.5),
        ("มาตรา 8 แห่งพระราชบัญญัติการบัญชี พ.ศ. 2543", 1.0),
        ("มาตรา 8 แห่งพระราชบัญญัติการบิน พ.ศ. 2497", 0.0),
        ("มาตรา 65", 0.0),  # of which law?
        ("ไม่ทราบ", 0.0),
    ],
)
def test_citations_that_the_corpus_has(service: str, text: str, worth: float):
    assert value({"kind": "valid_citation", "service": {"base_url": service}}, answer(text)) == worth


def test_a_service_that_is_away_values_nothing_and_is_named_before_the_run():
    config = {"kind": "valid_citation", "service": {"base_url": "http://127.0.0.1:9"}}
    assert "http://127.0.0.1:9 cannot be reached" in fault(config, answer("ตามมาตรา 65 ทวิ แห่งประมวลรัษฎากร"))
    (problem,) = check_reachable(ADAPTER.validate_python([config]))
    assert "http://127.0.0.1:9 cannot be reached" in problem
    assert problem.endswith("Start the tool service with a corpus, or correct the address.")


def test_a_running_service_is_no_problem(service: str):
    config = {"kind": "valid_citation", "service": {"base_url": service}}
    assert list(check_reachable(ADAPTER.validate_python([config]))) == []
