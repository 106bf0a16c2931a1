"""The page on replication says what its results say, and its intervals are Student's."""

import math

import pytest

from tests.replication.intervals import interval_of, paired_difference
from tests.replication.laws import mix_scripts, prompt_rows, shuffle_values, spoil_values, text_rows
from tests.replication.tables import PAGE, fill_page
from trainer.demoworld.nation import found_nation

NATION = found_nation(7)


def test_the_tables_of_the_page_are_those_of_the_kept_results():
    page = PAGE.read_text(encoding="utf-8")
    assert fill_page(page) == page


def test_an_interval_over_three_seeds_by_hand():
    """s = 0.1, t(2) = 4.3027: 0.2 ± 4.3027 · 0.1/√3."""
    found = interval_of([0.1, 0.2, 0.3])
    assert (found.mean, found.count) == (pytest.approx(0.2), 3)
    assert found.high == pytest.approx(0.2 + 4.302653 * 0.1 / math.sqrt(3), rel=1e-6)
    assert found.low == pytest.approx(0.2 - 4.302653 * 0.1 / math.sqrt(3), rel=1e-6)


def test_one_seed_has_no_interval():
    assert interval_of([0.4]).low == -math.inf


def test_differences_are_taken_within_seeds():
    """Seeds differ by 0.5, arms by 0.1 in each: the interval knows only the second."""
    by_seed = {"1": {"a": {"t": 0.2}, "b": {"t": 0.1}}, "2": {"a": {"t": 0.7}, "b": {"t": 0.6}}}
    found = paired_difference(by_seed, "t", "a", "b")
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.1))


def test_shuffled_facts_are_all_wrong_and_use_the_same_values():
    facts = list(NATION.new_code)
    moved = {(fact.law, fact.attribute.key): fact.value for fact in shuffle_values(facts, seed=1)}
    assert len(moved) == len(facts)
    assert all(moved[fact.law, fact.attribute.key] != fact.value for fact in facts)
    assert sorted(moved.values()) == sorted(fact.value for fact in facts)


def test_no_text_asks_a_held_question():
    held = {row["question"] for row in prompt_rows(NATION.read_only)}
    assert not held & {row["text"] for row in text_rows(NATION.new_code)}
    assert not held & {row["question"] for row in prompt_rows(NATION.taught)}


def test_the_shares_of_spoiled_answers_are_those_asked_for():
    facts = NATION.neighbour
    right = {row["question"]: row["answer"] for row in prompt_rows(facts)}
    spoiled = spoil_values(facts, share=0.5, forms=(0, 1), seed=3)
    assert len(spoiled) == 2 * len(facts)
    assert 0.4 < sum(row["answer"] != right[row["question"]] for row in spoiled) / len(spoiled) < 0.6
    mixed = mix_scripts(prompt_rows(facts, languages=("en", "th")), facts, share=1.0, seed=3)
    assert all(row["answer"].startswith("ตาม") == (row["language"] == "en") for row in mixed)
