"""Pages of runs whose policy writes: what their numbers are called, what is left out, and who taught whom."""

import re

import pytest

from chanote.recipes.forms.schema_form import title_of
from chanote.runs.curves import arrange_charts
from chanote.runs.models import Attempt
from chanote.runs.pages import dump_yaml
from chanote.runs.services import LaunchRefused, RunRefused, reproduce_run
from tests.rollout_rows import make_rollout, store_step
from tests.run_rows import log_values, make_run
from trainer.contract import stage_kinds

pytestmark = pytest.mark.django_db
OPD = {"kind": "opd", "name": "distil", "teacher": "base-model", "data": [{"dataset": "asked@1", "weight": 1.0}]}


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


@pytest.fixture
def run(project, researcher, tmp_path):
    snapshot = {"run": "x", "recipe": {"base": "base-model", "stages": [OPD]}}
    made = make_run(project, step=3, owner=researcher, state="finished", snapshot=snapshot)
    Attempt.objects.filter(run=made).update(directory=str(tmp_path))
    return made


@pytest.fixture
def read(researcher, client_of):
    client = client_of(researcher)
    return lambda path: client.get(f"/p/law/runs/{path}").content.decode()


def test_the_table_shows_the_reward_where_the_loss_says_little(project, read):
    log_values(make_run(project, number=1), {"train/loss": [-1e-9], "rollout/reward": [0.53125]})
    log_values(make_run(project, number=2), {"train/loss": [1.25]})
    cells = re.findall(r'<td data-l="(Reward|Loss)" class="r">(.*?)</td>', read(""))
    assert [(label, text_of(cell)) for label, cell in cells] == [("Loss", "1.250"), ("Reward", "0.531 reward")]
    assert "reward" in read("table.csv").splitlines()[0].split(",")


def test_home_shows_the_reward_and_its_course_too(project, researcher, client_of):
    log_values(make_run(project, number=1), {"train/loss": [9.0, 9.0], "rollout/reward": [0.0, 1.0]})
    ended = make_run(project, number=2, state="finished")
    log_values(ended, {"rollout/reward": [0.25]})
    page = client_of(researcher).get("/").content.decode()
    assert re.findall(r'data-l="Reward">([\d.]+)<', page) == ["1.000", "0.250"]
    [course] = re.findall(r'class="ln-s" d="M[\d.]+ ([\d.]+)L[\d.]+ ([\d.]+)"', page)
    assert float(course[0]) > float(course[1]), "down is a larger number: the reward rises while the loss stands still"


def test_a_run_without_held_out_rows_has_no_empty_figure_for_them(project, run, read):
    log_values(run, {"train/loss": [0.5]})
    assert "Held-out loss" not in text_of(read("1/"))
    asks = {**OPD, "held_out": [{"dataset": "asked@2"}]}
    make_run(project, number=2, snapshot={"run": "x", "recipe": {"stages": [asks]}})
    assert "Held-out loss" in text_of(read("2/"))
    rewarded = {**asks, "kind": "grpo", "rewards": [{"name": "exact_match"}]}
    make_run(project, number=3, snapshot={"run": "x", "recipe": {"stages": [rewarded]}})
    assert "Held-out loss" not in text_of(read("3/")), "held-out prompts have rewards, which the charts show"


def test_before_the_first_step_a_figure_is_a_dash_and_not_a_gap(project, read):
    make_run(project, number=1)
    assert "Loss – Speed – s per step Tokens –" in text_of(read("1/"))


def test_the_teacher_of_a_run_is_a_link_to_its_model(run, read):
    assert '<a href="/p/law/models/base-model/">base-model</a>' in read("1/").split("Teacher")[1]


def test_rollouts_without_rewards_are_not_asked_for_a_range_of_them(run, read):
    store_step(run, 1, [make_rollout(0, 0, reward=None, advantage=None, rewards={})])
    assert "Reward range" not in read("1/rollouts/")
    store_step(run, 2, [make_rollout(0, 0, reward=1.0)])
    assert "Reward range" in read("1/rollouts/")
    # A range in the address can be taken back where nothing has a reward.
    assert "Reward range" in read("1/rollouts/?step=1&low=0.5")


def test_an_only_component_that_is_the_total_is_drawn_once(run):
    log_values(run, {"rollout/reward": [0.1, 0.4], "rollout/reward/exact": [0.1, 0.4]})
    [section] = arrange_charts(run.series.all())
    assert [line.label for line in section.charts[0].lines] == ["total"]


def test_an_only_component_with_another_weight_is_drawn_beside_the_total(run):
    log_values(run, {"rollout/reward": [0.05, 0.2], "rollout/reward/exact": [0.1, 0.4]})
    [section] = arrange_charts(run.series.all())
    assert [line.label for line in section.charts[0].lines] == ["total", "exact"]


def test_the_frozen_spec_names_the_kind_of_a_stage_first_whatever_order_the_database_keeps():
    stages = [
        {"steps": 3, "optimizer": {"beta1": 0.9}, "name": "practise", "kind": "grpo", "rewards": [{"kind": "exact"}]}
    ]
    lines = dump_yaml({"recipe": {"stages": stages}}).splitlines()
    assert lines[2:5] == ["  - kind: grpo", "    name: practise", "    steps: 3"]


def test_every_kind_of_stage_has_a_title_of_its_own():
    titles = {kind: title_of(kind) for kind in stage_kinds()}
    assert titles["ink_grpo"] == "InK-GRPO"
    assert titles["opd"] == "On-policy distillation"
    assert len(set(titles.values())) == len(titles)


def test_a_run_that_told_nothing_cannot_be_reproduced(run, researcher):
    with pytest.raises(RunRefused, match="law-1 has no metrics to compare with"):
        reproduce_run(run, owner=researcher)


def test_a_recipe_that_the_contract_no_longer_takes_is_refused_with_its_field(run, researcher):
    log_values(run, {"train/loss": [0.5]})
    with pytest.raises(LaunchRefused) as refused:
        reproduce_run(run, owner=researcher)
    assert {problem.field.partition("[")[0] for problem in refused.value.problems} == {"recipe.stages"}
