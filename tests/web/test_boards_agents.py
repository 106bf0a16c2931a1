"""Agents on a board: turns, tool errors and cost beside the score, and items that count for nothing."""

import csv
import re

import pytest
from django.core.exceptions import PermissionDenied
from django.urls import reverse

from chanote.boards.models import Evaluation, Task
from chanote.boards.selectors import describe_board, read_board
from chanote.boards.services import create_board, freeze_task, hash_task, import_evaluation
from chanote.cli import build_parser
from chanote.commands.answers import CommandEnd
from chanote.models.models import Model
from chanote.runs.freezing import find_obstacles
from chanote.runs.reachable import find_unreachable
from tests.agent_samples import write_agent_samples
from tests.tool_service import find_dead_address
from trainer.contract import Recipe, TaskSpec
from trainer.contract.events import ScoredSample

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static")]

DEFINITION = TaskSpec.model_validate(
    {
        "task": "law-agent",
        "dataset": "code@1",
        "output_type": "agent",
        "metric": "exact",
        "generation_kwargs": {"max_gen_toks": 2000},
        "agent": {"rewards": [{"kind": "exact"}, {"kind": "citation_f1"}], "system_prompt": "Look it up."},
    }
)


@pytest.fixture
def task(project, version):
    return freeze_task(project=project, definition=DEFINITION, dataset_version=version)


@pytest.fixture
def board(project):
    return create_board(project=project, slug="main", title="Agents")


@pytest.fixture
def score(project, task, board, tmp_path):
    def put(slug, scores, **details):
        model = Model.objects.create(
            project=project, slug=slug, origin="directory", location=slug, sha256=slug[:1] * 64
        )
        path = write_agent_samples(tmp_path / f"{slug}.jsonl", scores, **details)
        return import_evaluation(task=task, model=model, samples_path=path, board=board)

    return put


def read(browser, name, board, **query):
    response = browser.get(reverse(f"boards:{name}", args=[board.project.slug, board.slug]), query)
    assert response.status_code == 200, response.content[:500]
    return response, re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", response.content.decode()))


def test_a_row_shows_turns_tool_errors_and_cost_beside_the_score(browser, board, score):
    score("agent", [1.0] * 30 + [0.0] * 10, cost=0.025, wrong_calls=10)
    response, text = read(browser, "board", board)
    (row,) = response.context["page"].rows
    assert row.number.value == "75"
    # 50 calls, 10 of them malformed; 1,000 tokens an item; 40 items at 0.025.
    assert (row.agent.turns, row.agent.calls, row.agent.errors, row.agent.tokens, row.agent.cost) == (
        "2.0",
        "1.2 calls",
        "20",
        "1,000",
        "1.00",
    )
    assert "0 failed and 10 malformed of 50 calls" in response.content.decode()
    assert "900 read, 100 written an item" in response.content.decode()
    assert "cost 1.00" in text
    assert "answered 40" in response.content.decode()
    assert "likeliest token, up to 2,000 tokens an episode" in text


def test_every_reward_stands_there_with_its_interval_and_its_items(browser, board, score):
    score("agent", [1.0] * 30 + [0.0] * 10)
    response, text = read(browser, "board", board)
    assert "Everything measured" in text
    (row,) = response.context["page"].rows
    exact, citation = (cell for _, cell in row.named_rewards)
    assert (exact.value, exact.interval, exact.items) == ("75", row.number.interval, "")
    assert (citation.value, citation.items) == ("75", "20 items")


def test_items_whose_tools_failed_are_left_out_of_score_n_and_failures_and_the_page_says_so(browser, board, score):
    evaluation = score("agent", [1.0] * 30 + [0.0] * 10 + [None] * 5)
    assert (evaluation.count, evaluation.failed, evaluation.left_out, evaluation.mean) == (40, 0, 5, 0.75)
    response, text = read(browser, "board", board)
    assert "5 left out" in text
    assert "tools or judge failed, not scored" in text
    (row,) = response.context["page"].rows
    assert (row.number.value, row.entry.estimate.count, row.failed) == ("75", 40, "0")
    response, text = read(browser, "samples", board, a="agent", left_out="on")
    assert [sample.item for sample, *_ in response.context["rows"]] == [f"item-{n}" for n in range(40, 45)]
    assert "search_law said nothing within 30 s" in text
    assert "Left out" in text
    response, _ = read(browser, "samples", board, a="agent", failed="on")
    assert not response.context["rows"]


def test_models_are_compared_on_the_items_that_both_were_scored_on(board, score):
    score("good", [1.0] * 60 + [None] * 4)
    score("bad", [None] * 3 + [0.0] * 61)
    (table,) = describe_board(read_board(board))
    assert [model["not_compared"] for model in table["models"]] == ["", ""]
    (pair,) = table["comparisons"]
    assert (pair["items"], pair["only_a"], pair["verdict"]) == (57, 57, "a_better")
    assert [(model["items"], model["left_out"]) for model in table["models"]] == [(60, 4), (61, 3)]


def test_an_evaluation_of_which_nothing_was_scored_has_no_mean(browser, board, score):
    evaluation = score("agent", [None, None])
    assert (evaluation.count, evaluation.mean, evaluation.episodes) == (0, None, None)
    _, text = read(browser, "board", board)
    assert "2 left out" in text


def test_an_answer_opens_into_its_conversation_escaped(browser, board, score):
    score("agent", [1.0, 0.0], wrong_calls=1)
    response, text = read(browser, "samples", board, a="agent")
    assert "Answered · 2 turns · 2 calls · 1 malformed · 900 tokens read, 100 written · 1.3 s" in text
    assert b"&lt;think&gt;look&lt;/think&gt;" in response.content
    assert b"&lt;b&gt;opens&lt;/b&gt;" in response.content
    assert "Error: the call is not valid JSON." in text
    assert b'title="The row has no `citations`."' in response.content
    assert not re.search(rb"<main.*(\sstyle=|<script|\son\w+=)", response.content, re.DOTALL)


def test_a_task_without_tools_has_none_of_it(browser, board, project, version, tmp_path):
    spec = TaskSpec(task="plain", dataset="code@1", output_type="generate_until", metric="exact_match")
    plain = freeze_task(project=project, definition=spec, dataset_version=version)
    model = Model.objects.create(project=project, slug="m", origin="directory", location="m", sha256="m" * 64)
    path = tmp_path / "m.jsonl"
    sample = ScoredSample(item="x", prompt="q", output="a", target="a", score=1, status="ok")
    path.write_text(sample.model_dump_json() + "\n")
    import_evaluation(task=plain, model=model, samples_path=path, board=board)
    _, text = read(browser, "board", board)
    assert not [word for word in ("Turns", "Tool errors", "Tokens", "Left out", "measured") if word in text]
    _, text = read(browser, "samples", board, a="m")
    assert "Conversation" not in text
    (table,) = describe_board(read_board(board))
    assert table["models"][0]["episodes"] is None


def test_csv_and_api_carry_what_the_page_shows(browser, board, score, project):
    evaluation = score("agent", [1.0, 0.0, None], cost=0.5)
    response, _ = read(browser, "csv", board)
    (row,) = csv.DictReader(response.content.decode().splitlines())
    assert (row["left_out"], row["turns"], row["tool_errors"], row["prompt_tokens"], row["cost"]) == (
        "1",
        "2.0",
        "0",
        "1800",
        "1.0",
    )
    address = f"/api/v1/projects/{project.slug}/evaluations/{evaluation.pk}/"
    told = browser.get(address).json()
    assert (told["left_out"], told["episodes"]["stops"]) == (1, {"answered": 2})
    assert told["episodes"]["rewards"]["exact"]["mean"] == 0.5
    (sample,) = browser.get(f"{address}samples/", {"left_out": "true"}).json()["results"]
    assert sample["episode"]["conversation"][0]["calls"][0]["status"] == "infra_error"


def test_the_task_page_names_what_is_measured(browser, task):
    page = browser.get(reverse("boards:task", args=["law", "law-agent", 1])).content.decode()
    assert "citation_f1" in page
    assert "Look it up." in page


def test_the_hash_of_tasks_that_were_frozen_before_stays():
    """A board must not fall apart because a later version knows agents."""
    spec = TaskSpec(task="t", dataset="d@1", output_type="generate_until", metric="exact_match")
    assert hash_task(spec, "a" * 64) == "0af294954ce46dad0fb3332263e1d57d49f005e69794af51d182eb465ceebfa5"


def test_a_recipe_with_an_agents_task_and_no_toolset_is_refused_in_a_sentence(project, task):
    recipe = Recipe.model_validate({"base": "m", "stages": [{"kind": "evaluate", "tasks": ["law-agent"]}]})
    found = {str(problem) for problem in find_obstacles(project, recipe)}
    assert "stages[0].tasks[0]: law-agent is answered with tools; name a toolset of the project in toolset." in found


def test_a_judge_of_an_agents_task_that_does_not_answer_is_named_before_launch(project, version):
    judge = {"kind": "judge", "endpoint": {"base_url": find_dead_address(), "model": "judge"}}
    agent = {"rewards": [{"kind": "exact"}, judge]}
    spec = TaskSpec.model_validate({**DEFINITION.model_dump(mode="json"), "agent": agent})
    freeze_task(project=project, definition=spec, dataset_version=version)
    recipe = {"base": "m", "toolset": "law", "stages": [{"kind": "evaluate", "tasks": ["law-agent"]}]}
    (problem,) = find_unreachable(Recipe.model_validate(recipe), project)
    assert problem.field == "stages[0].tasks[0]"
    assert problem.message.startswith("law-agent, rewards[1].endpoint: http://127.0.0.1:")
    assert "cannot be reached" in problem.message


def test_evaluations_with_other_tools_have_other_settings(project, task, board, tmp_path, score):
    from tests.run_rows import make_run

    first = make_run(project, number=1, snapshot={"toolset": {"name": "law@1", "tools": ["search_law"]}})
    second = make_run(project, number=2, snapshot={"toolset": {"name": "law@2", "tools": ["search_law"]}})
    model = Model.objects.create(project=project, slug="m", origin="directory", location="m", sha256="m" * 64)
    path = write_agent_samples(tmp_path / "m.jsonl", [1.0, 0.0])
    found = [import_evaluation(task=task, model=model, samples_path=path, run=run) for run in (first, second)]
    assert found[0].settings_sha256 != found[1].settings_sha256
    assert found[0].episodes["toolset"] == "law@1"
    assert (Evaluation.objects.count(), Task.objects.count()) == (2, 1)


def test_what_was_evaluated_by_hand_is_put_on_a_board_by_a_command(project, project_admin, task, board, tmp_path):
    Model.objects.create(project=project, slug="served", origin="directory", location="s", sha256="5" * 64)
    samples = write_agent_samples(tmp_path / "served.jsonl", [1.0, 0.0, None], cost=0.5)
    words = ["board", "add", "main", str(samples), "--task", "law-agent", "--model", "served"]
    words += ["--toolset", "law@2", "--as", "project-admin"]

    def add(*more: str):
        args = build_parser().parse_args([*words, *more])
        return args.action(args)

    told = add()
    assert (told["task"], told["mean"], told["items"], told["left_out"]) == ("law-agent@1", 0.5, 2, 1)
    assert add() == told
    (model,) = describe_board(read_board(board))[0]["models"]
    assert (model["model"], model["episodes"]["toolset"], model["episodes"]["cost"]) == ("served", "law@2", 1.0)
    for more, sentence in [
        (["--task", "other"], "other is no task of this project"),
        (["--model", "nobody"], "No model is called nobody"),
    ]:
        with pytest.raises(CommandEnd, match=sentence):
            add(*more)


def test_a_viewer_puts_nothing_on_a_board(project, viewer, task, board, tmp_path):
    samples = write_agent_samples(tmp_path / "served.jsonl", [1.0, 0.0])
    words = ["board", "add", "main", str(samples), "--task", "law-agent", "--model", "m", "--as", viewer.username]
    args = build_parser().parse_args(words)
    with pytest.raises(PermissionDenied):
        args.action(args)
    assert not Evaluation.objects.exists()
