"""Charts of runs that sample, distil or inject knowledge: what stands together, what is left out, and the ledger."""

import re

import pytest

from chanote.runs.chart_plan import KNOWN, PLANNED
from chanote.runs.curves import arrange_charts, choose_main
from chanote.runs.ledger import list_ledgers
from tests.run_rows import log_values, make_run, tell

pytestmark = pytest.mark.django_db
GRPO = {
    "rollout/reward": [0.1, 0.2],
    "rollout/reward/exact": [0.1, 0.3],
    "rollout/reward/think_tags": [0.5, 0.6],
    "rollout/reward_std": [0.3, 0.2],
    "rollout/length": [40.0, 41.0],
    "rollout/truncated_share": [0.0, 0.1],
    "rollout/masked": [0.0, 0.0],
    "policy/entropy": [2.0, 1.9],
    "policy/kl": [0.0, 0.01],
    "policy/clip_fraction": [0.0, 0.02],
    "policy/loss": [0.0, -0.1],
    "train/skipped_steps": [0.0, 0.0],
    "train/loss": [0.0, 0.1],
}


@pytest.fixture
def run(project):
    return make_run(project, step=2)


def titles(run) -> dict[str, list[str]]:
    return {one.title: [chart.title for chart in one.charts] for one in arrange_charts(run.series.all())}


def test_charts_stand_under_the_question_that_they_answer(run):
    log_values(run, GRPO)
    assert titles(run) == {
        "Reward": ["Reward", "Spread within a prompt"],
        "Completions": ["Completion length", "Cut at the limit"],
        "Policy update": ["Entropy", "KL to the reference", "Clipped tokens", "Policy loss"],
        "Training": ["Loss"],
    }


def test_components_of_the_reward_are_drawn_over_the_total(run):
    log_values(run, GRPO)
    [reward, _] = arrange_charts(run.series.all())[0].charts
    assert [(line.label, line.series.key) for line in reward.lines] == [
        ("total", "rollout/reward"),
        ("exact", "rollout/reward/exact"),
        ("think tags", "rollout/reward/think_tags"),
    ]


def test_more_components_than_line_styles_go_into_a_second_chart(run):
    log_values(run, {"rollout/reward": [1.0]} | {f"rollout/reward/part_{n}": [1.0] for n in range(9)})
    [reward] = arrange_charts(run.series.all())
    assert [len(chart.lines) for chart in reward.charts] == [8, 2]


def test_what_never_happened_is_said_in_words_and_drawn_once_it_does(run, researcher, client_of):
    log_values(run, GRPO)
    client = client_of(researcher)
    page = client.get("/p/law/runs/1/charts/").content.decode()
    assert 'data-never="train/skipped_steps">No step was skipped' in page
    assert 'data-never="rollout/masked">No rollout was masked.' in page
    log_values(run, {"train/skipped_steps": [1.0]}, first_step=3)
    assert "Skipped steps" in titles(run)["Training"]


def test_a_run_without_such_metrics_has_none_of_these_sections(run):
    log_values(run, {"train/loss": [1.0], "system/seconds_per_step": [1.0], "held_out/laws/loss": [2.0]})
    assert titles(run) == {"Training": ["Loss"], "Held-out": ["Held-out loss"], "System": ["Time per step"]}


def test_keys_that_nobody_planned_get_a_chart_in_the_section_of_their_prefix(run):
    log_values(run, {"policy/new_thing": [1.0], "strange": [1.0], "mine/x_y": [1.0], "held_out/a/top": [1.0]})
    log_values(run, {"held_out/b/top": [1.0]})
    assert titles(run) == {
        "Policy update": ["New thing"],
        "Held-out": ["Top"],
        "Mine": ["X y"],
        "Other": ["strange"],
    }


def test_held_out_prompts_have_one_chart_for_the_reward_of_all_datasets_and_its_components(run):
    values = {
        "loss": 1.0,
        "reward": 0.5,
        "reward/exact": 0.4,
        "length": 9.0,
        "truncated_share": 0.0,
        "faults/exact": 0.0,
    }
    log_values(run, {f"held_out/{name}/{key}": [value] for name in ("a@1", "b@2") for key, value in values.items()})
    [section] = arrange_charts(run.series.all())
    assert {chart.title: [line.label for line in chart.lines] for chart in section.charts} == {
        "Held-out loss": ["a@1", "b@2"],
        "Held-out reward": ["a@1", "b@2", "a@1, exact", "b@2, exact"],
        "Held-out completion length": ["a@1", "b@2"],
    }
    assert [words for _, words in section.remarks] == [
        "No held-out completion was cut.",
        "No reward failed on held-out prompts.",
    ]


def test_divergence_on_and_off_policy_share_a_chart(run):
    log_values(run, {"distil/divergence_on_policy": [1.0], "distil/divergence_off_policy": [2.0]})
    [chart] = arrange_charts(run.series.all())[0].charts
    assert [line.label for line in chart.lines] == ["on policy", "off policy"]


def test_every_planned_chart_says_in_one_sentence_how_it_is_read(run, researcher, client_of):
    plans = [plan for section in PLANNED for plan in section.plans]
    assert all(re.fullmatch(r"[A-Z][^.]*\.", plan.help) for plan in plans), [
        plan.help for plan in plans if not re.fullmatch(r"[A-Z][^.]*\.", plan.help)
    ]
    log_values(run, GRPO)
    page = client_of(researcher).get("/p/law/runs/1/charts/").content.decode()
    assert KNOWN["policy/kl"].help in page
    assert "Does the policy do better at what is rewarded?" in page


def test_the_overview_shows_the_reward_while_a_stage_has_one_and_the_loss_of_a_later_stage(run, researcher, client_of):
    log_values(run, GRPO)
    client = client_of(researcher)
    page = client.get("/p/law/runs/1/").content.decode()
    assert 'data-chart="rollout/reward,rollout/reward/exact,rollout/reward/think_tags"' in page
    assert '<span data-live="reward">0.2000</span>' in page
    log_values(run, {"train/loss": [1.0]}, first_step=9)
    charts = [chart for section in arrange_charts(run.series.all()) for chart in section.charts]
    assert choose_main(charts).name == "train/loss"


# The ledger


@pytest.fixture
def ink(project):
    stages = [{"kind": "grpo", "name": "plain"}, {"kind": "ink_grpo", "name": "inject", "knowledge_rate": 0.3}]
    made = make_run(project, step=40, snapshot={"recipe": {"stages": stages}})
    tell(made, "stage_started", stage=0, kind="grpo", name="plain", first_step=1, steps=20, notes={})
    tell(made, "stage_started", stage=1, kind="ink_grpo", name="inject", first_step=21, steps=100, notes={})
    return made


def read_ledgers(run):
    return list_ledgers(run, run.attempts.last().events.all(), run.series.all())


def test_the_ledger_counts_draws_of_its_stage_against_the_asked_chance(ink):
    log_values(ink, {"knowledge/coin": [1.0, 0.0, 0.0, 0.0] * 5, "policy/loss": [-0.5] * 20}, first_step=21)
    log_values(ink, {"knowledge/loss": [2.5]}, first_step=37)
    [ledger] = read_ledgers(ink)
    assert (ledger.stage, ledger.steps, ledger.drawn, ledger.share, ledger.asked) == ("inject", 20, 5, 0.25, 0.3)
    # Binomial(20, 0.3): 2.5 % and 97.5 % quantiles.
    assert (ledger.low, ledger.high, ledger.is_expected) == (2, 10, True)
    assert ledger.latest[:2] == [(37, [2.5, -0.5]), (33, [None, -0.5])]
    assert ledger.cells[0].title == "step 21: yes"
    assert [cell.height for cell in ledger.cells[:2]] == [12, 0]


def test_a_share_that_chance_does_not_explain_is_pointed_out(ink, researcher, client_of):
    log_values(ink, {"knowledge/coin": [1.0] * 20}, first_step=21)
    page = client_of(researcher).get("/p/law/runs/1/charts/").content.decode()
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "Text was drawn on 20 of 20 steps, 100 % ; the recipe asks for 30 %." in text
    assert "chance would put it between 2 and 10; look at the recipe and the log." in text


def test_a_long_ledger_keeps_its_width(ink):
    log_values(ink, {"knowledge/coin": [1.0, 0.0] * 50_000}, first_step=1)
    ledgers = read_ledgers(ink)
    assert [len(one.cells) for one in ledgers] == [20, 100]
    from chanote.runs.models import RunEvent

    RunEvent.objects.all().delete()
    [whole] = read_ledgers(ink)
    assert (whole.steps, whole.drawn, len(whole.cells)) == (100_000, 50_000, 120)
    assert whole.asked is None


def test_without_a_coin_there_is_no_ledger(run, researcher, client_of):
    log_values(run, GRPO)
    assert "Knowledge" not in client_of(researcher).get("/p/law/runs/1/charts/").content.decode()


def test_before_the_first_draw_the_ledger_stands_alone(ink, researcher, client_of):
    log_values(ink, {"knowledge/coin": [0.0]}, first_step=21)
    page = client_of(researcher).get("/p/law/runs/1/charts/").content.decode()
    assert "No step has drawn yet." in page
    assert "Knowledge injection" in page


def test_a_coin_that_is_tossed_once_a_round_is_judged_by_rounds(project, researcher, client_of):
    stage = {"kind": "opd", "name": "", "on_policy": 0.25, "updates_per_rollout": 4}
    made = make_run(project, snapshot={"recipe": {"stages": [stage]}})
    log_values(made, {"distil/on_policy": [1.0] * 4 + [0.0] * 36, "distil/divergence_on_policy": [0.5] * 4})
    tell(made, "stage_started", stage=0, kind="opd", name="", first_step=1, steps=40, notes={})
    [ledger] = read_ledgers(made)
    # Binomial(10, 0.25) has its 2.5 % and 97.5 % quantiles at 0 and 5 rounds of four steps.
    assert (ledger.steps, ledger.drawn, ledger.low, ledger.high) == (40, 4, 0, 20)
    page = client_of(researcher).get("/p/law/runs/1/charts/").content.decode()
    assert "The student wrote itself on 4 of 40 steps, 10 %" in page
    assert page.index("Distillation") < page.index("On-policy ledger") < page.index("Divergence from the teacher")
