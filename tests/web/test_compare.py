"""Comparing runs: what differs, by how much, and what the address may ask for."""

import re

import pytest

from chanote.accounts.models import Project
from chanote.runs.compare import compare_configs, compare_runs, flatten
from tests.run_rows import log_values, make_run

pytestmark = pytest.mark.django_db


def spec(**changes):
    return {"run": "x", "seed": 1, "recipe": {"base": "b", "stages": [{"kind": "sft", "steps": 10, **changes}]}}


def test_a_spec_is_flattened_to_its_leaves():
    assert flatten({"a": {"b": [1, {"c": None}]}, "d": True, "e": []}) == {
        "a.b[0]": "1",
        "a.b[1].c": "none",
        "d": "yes",
        "e": "empty",
    }


def test_only_keys_that_differ_are_shown_and_the_rest_is_counted():
    groups, equal = compare_configs([spec(), spec(steps=20), spec(loss_on="all")], all_keys=False)
    assert [(group.name, group.different, group.total) for group in groups] == [("recipe.stages[0]", 2, 3)]
    lines = {line.key: [(cell.text, cell.differs) for cell in line.cells] for line in groups[0].lines}
    assert lines["recipe.stages[0].steps"] == [("10", False), ("20", True), ("10", False)]
    assert lines["recipe.stages[0].loss_on"] == [("", False), ("", False), ("all", True)]
    assert equal == 3  # seed, recipe.base, recipe.stages[0].kind; the run's own name is no config


def test_all_keys_can_be_asked_for():
    groups, _ = compare_configs([spec(), spec()], all_keys=True)
    assert sum(len(group.lines) for group in groups) == 4


def test_the_page_shows_runs_in_the_order_of_the_address_and_differences_to_the_first(project, researcher, client_of):
    for number, last in ((1, 1.5), (2, 1.25)):
        log_values(make_run(project, number=number, state="finished"), {"train/loss": [3.0, last]})
    page = client_of(researcher).get("/p/law/runs/compare/?run=2&run=1").content.decode()
    assert re.findall(r"<b>(law-\d)</b>", page) == ["law-2", "law-1"]
    assert '<span class="delta">+0.25</span>' in page
    assert "1.25 to 3" in page
    assert "Nothing differs: the runs have the same frozen spec." in page
    assert 'data-overlay="1\tlaw-2\t/p/law/runs/2/curves/\n2\tlaw-1\t/p/law/runs/1/curves/"' in page


def test_what_never_happened_in_any_run_takes_no_place_among_the_charts(project):
    runs = [make_run(project, number=number, state="finished") for number in (1, 2)]
    for run, cut in zip(runs, (0.0, 0.5), strict=True):
        log_values(run, {"rollout/masked": [0.0, 0.0], "rollout/truncated_share": [0.0, cut]})
    compared = compare_runs(runs, all_keys=False)
    assert [chart.title for chart in compared.charts] == ["Cut at the limit"]
    assert [line.key for line in compared.metrics] == ["rollout/truncated_share", "rollout/masked"]


def test_a_run_can_be_taken_out_by_a_link(project, researcher, client_of):
    for number in (1, 2, 3):
        make_run(project, number=number)
    page = client_of(researcher).get("/p/law/runs/compare/?run=1&run=2&run=3&all=1").content.decode()
    assert 'href="?run=1&amp;run=3&amp;all=1" aria-label="Take law-2 out"' in page


def test_fewer_than_two_and_more_than_ten_runs_are_answered_in_words(project, researcher, client_of):
    client = client_of(researcher)
    for number in range(1, 13):
        make_run(project, number=number)
    assert "Choose two to ten runs" in client.get("/p/law/runs/compare/").content.decode()
    assert "One more run is needed" in client.get("/p/law/runs/compare/?run=3").content.decode()
    many = "&".join(f"run={number}" for number in range(1, 13))
    page = client.get(f"/p/law/runs/compare/?{many}").content.decode()
    assert "Up to 10 runs can be compared; the first 10 are shown." in page
    assert "Compare 10 runs" in page


def test_a_run_of_another_project_cannot_be_compared(project, researcher, client_of):
    make_run(project, number=1)
    make_run(Project.objects.create(slug="secret", name="Secret"), number=7, name="secret-run")
    page = client_of(researcher).get("/p/law/runs/compare/?run=1&run=7&run=nonsense").content.decode()
    assert "There is no run #7 in this project." in page
    assert "secret-run" not in page


def test_a_stranger_finds_no_comparison(project, stranger, client_of):
    assert client_of(stranger).get("/p/law/runs/compare/").status_code == 404


def test_queries_do_not_grow_with_keys_that_are_not_drawn(
    project, researcher, client_of, django_assert_max_num_queries
):
    for number in range(1, 11):
        made = make_run(project, number=number, state="finished")
        log_values(made, {f"train/key-{key}": [1.0, 2.0] for key in range(20)})
    query = "&".join(f"run={number}" for number in range(1, 11))
    client = client_of(researcher)
    client.get("/p/law/runs/")
    with django_assert_max_num_queries(260):  # 8 charts of 10 runs, three reads of chunks each, and the page
        page = client.get(f"/p/law/runs/compare/?{query}").content.decode()
    assert page.count('<svg class="chart"') == 8
    assert "train/key-19" in page
