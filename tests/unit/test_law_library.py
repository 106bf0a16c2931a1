"""The library that a policy with tools searches: who may ask about which law, and that a search is enough to know."""

import asyncio
from itertools import combinations

import pytest
import yaml

from tests.replication.agent import describe_arms, read_stages, write_service_corpus
from toolsandbox.law.index import open_index
from toolsandbox.law.provider import LawTools, show_hits
from trainer.contract import Recipe
from trainer.demoworld.catalogue import TOOLSET, read_recipe
from trainer.demoworld.library import (
    call,
    find,
    found_library,
    name_law,
    write_exam,
    write_practice,
    write_sections,
    write_traces,
)
from trainer.demoworld.nation import ATTRIBUTES, found_nation

NATION = found_nation(0)
LIBRARY = found_library(NATION)


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> LawTools:
    """The real search over the library and the new code, as the demo's service opens them."""
    folder = tmp_path_factory.mktemp("library")
    corpus = write_service_corpus(folder / "laws.jsonl", LIBRARY)
    open_index(corpus, language="en", folder=folder / "indexes")
    tools = LawTools(corpus, language="en", folder=folder / "indexes")
    asyncio.run(tools.start())
    return tools


def test_no_law_is_in_two_groups_nor_in_a_code():
    groups = [{one.law for one in group} for group in (LIBRARY.shown, LIBRARY.asked, LIBRARY.held, LIBRARY.others)]
    assert [len(group) for group in groups] == [2, 140, 32, 94]
    codes = {one.law for one in NATION.neighbour + NATION.new_code}
    assert not any(a & b for a, b in combinations([*groups, codes], 2))


def test_the_exam_asks_about_laws_that_nothing_trains_on():
    exam = {row["law_name"] for row in write_exam(LIBRARY)}
    assert exam == {name_law(one) for one in LIBRARY.held}
    assert not exam & {row["law_name"] for rows in (write_practice(LIBRARY), write_traces(LIBRARY)) for row in rows}
    assert len({row["question"] for row in write_exam(LIBRARY)}) == 128


def test_the_traces_show_each_kind_of_provision_once():
    assert sorted(one.attribute.section for one in LIBRARY.shown) == [one.section for one in ATTRIBUTES]
    assert len(list(write_traces(LIBRARY))) == 12


def test_another_seed_has_other_laws_in_its_groups_and_other_values():
    other = found_library(NATION, 1)
    assert {one.law for one in other.asked} != {one.law for one in LIBRARY.asked}
    assert {one.law for one in other.held} == {one.law for one in LIBRARY.held}
    values = {(one.law, one.attribute.key): one.value for one in LIBRARY.held}
    assert sum(values.get((one.law, one.attribute.key)) == one.value for one in other.held) < 6


def test_the_search_that_is_shown_finds_its_section_first_whatever_the_law(search: LawTools):
    """So a policy that searches so and reads what was found can answer every question."""
    sections = search.engine.index.sections
    for one in LIBRARY.provisions:
        ((place, _),) = search.engine.search(call(one)["arguments"]["query"], 1)
        assert (sections[place].law_name, sections[place].section_num) == (name_law(one), str(one.attribute.section))


def test_the_traces_show_what_the_service_says(search: LawTools):
    for one in LIBRARY.shown:
        hits = asyncio.run(search.find(**call(one)["arguments"]))
        assert find(LIBRARY, one) == show_hits(hits).text


def test_distractors_are_always_in_the_index(search: LawTools):
    """The new code's sections and those of laws that nobody asks about."""
    named = {section.law_name for section in search.engine.index.sections}
    assert {one.law.title for one in NATION.new_code} <= named
    assert {name_law(one) for one in LIBRARY.others} <= named
    assert len(list(write_sections(LIBRARY))) == 4 + 2 * (140 + 32 + 94)


def test_the_recipe_names_the_demo_s_tools_and_rewards_calls_before_answers():
    recipe = Recipe.model_validate(yaml.safe_load(read_recipe("learn-to-search")))
    assert recipe.toolset == TOOLSET["slug"]
    shown, calls, answers = read_stages()
    assert [stage["data"][0]["dataset"] for stage in (shown, calls, answers)] == [
        "search-traces",
        "search-practice",
        "search-practice",
    ]
    weights = [{one["kind"]: one.get("weight", 1) for one in stage["rewards"]} for stage in (calls, answers)]
    assert weights[0]["tool_form"] > weights[1]["tool_form"] == 0
    assert weights[1]["exact"] > weights[1]["gold_section"]


def test_the_arms_of_the_ablation_differ_in_the_text_alone():
    arms = describe_arms()
    for plain, reading in zip(arms["grpo"], arms["ink"], strict=True):
        assert plain == {key: value for key, value in reading.items() if key in plain}
        assert {key for key in reading if key not in plain} == {
            "corpus",
            "knowledge_weight",
            "knowledge_rate",
            "knowledge_batch_size",
        }
