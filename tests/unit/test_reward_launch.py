"""Rewards that cannot work are refused before anything is computed, by the platform and by the trainer."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from chanote.datasets.services import import_dataset
from chanote.runs.freezing import LaunchRefused
from chanote.runs.models import Run
from chanote.runs.reachable import find_unreachable
from chanote.runs.services import launch_run
from tests.installation import add_texts, tiny_stage, write_recipe
from tests.judge_server import Reply, grades, serve
from tests.rollout_runs import GRPO, open_stage, question_rows, read_rollouts, write_base, write_rollout_run
from tests.trainer_runs import metric, run_here
from trainer.contract import Recipe
from trainer.failures import InvalidSpec
from trainer.spec_file import read_spec


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


def judged(url: str, *, model: str = "judge", **settings: Any) -> dict[str, Any]:
    reward = {"kind": "judge", "endpoint": {"base_url": url, "model": model}, **settings}
    return {**GRPO, "rewards": [{"kind": "overlong", "buffer": 16}, reward]}


def away() -> str:
    """Address of a judge that was there a moment ago."""
    with serve(lambda *_: grades(2)) as server:
        return server.url


def test_the_trainer_refuses_a_judge_that_is_away(tmp_path: Path, base: Path):
    url = away()
    with pytest.raises(InvalidSpec) as refused:
        open_stage(tmp_path, judged(url), base)
    assert refused.value.errors == [
        f"recipe.stages[0].rewards[1].endpoint: {url} cannot be reached (Connection refused). Start the server, or "
        "correct endpoint."
    ]


def test_the_trainer_refuses_rows_without_what_a_reward_needs(tmp_path: Path, base: Path):
    stage = {**GRPO, "rewards": [{"kind": "citation_f1"}, {"kind": "exact"}]}
    with pytest.raises(InvalidSpec) as refused:
        open_stage(tmp_path, stage, base)
    assert refused.value.errors == [
        "recipe.stages[0].rewards[0] (citation_f1): 12 of 12 rows of questions@1 give it nothing to compare with (row "
        "1 has no `citations`); complete or remove those rows, or choose another reward."
    ]


def test_a_run_masks_what_the_judge_could_not_judge_and_goes_on(tmp_path: Path, base: Path):
    """Answers with an even number of characters get a grade; the others are masked with the reason, never worth 0."""

    def script(_: int, body: dict[str, Any]) -> Reply:
        text = re.findall(r"begin ANSWER [0-9a-f]+]\n(.*)\n\[end ANSWER", body["messages"][1]["content"], re.DOTALL)[0]
        return Reply({}, status=400) if len(text) % 2 else grades(1)

    with serve(script) as server:
        out = write_rollout_run(tmp_path, [{**judged(server.url, read="whole"), "steps": 2}], base)
        assert run_here(out) == 0
    fault = f"Reward judge failed: The judge failed: {server.url} answered with status 400: {{}}."
    rollouts = [one for step in (1, 2) for one in read_rollouts(out, step)]
    assert len(rollouts) == 16
    for one in rollouts:
        text = one.text.strip()
        if len(text) % 2:
            assert (one.rewards["judge"], one.reward, one.masked) == (None, None, fault)
        else:
            assert one.rewards["judge"] == (0.5 if text else 0.0)
            assert one.reward == pytest.approx(one.rewards["judge"] + (one.rewards["overlong"] or 0.0))
            assert one.masked == ""
    assert {one.rewards["judge"] for one in rollouts} >= {None, 0.5}
    faults = metric(out, "rollout/faults/judge")
    assert sum(faults.values()) == sum(one.rewards["judge"] is None for one in rollouts)


def test_the_notes_of_a_stage_hold_the_judge(tmp_path: Path, base: Path):
    with serve(lambda *_: grades(1)) as server:
        notes = open_stage(tmp_path, judged(server.url), base).algorithm.source_notes()
    assert notes["reward/judge/judge"] == "judge"
    assert len(str(notes["reward/judge/prompt_sha256"])) == 64


def test_the_platform_asks_for_the_judge_before_launch():
    url = away()
    recipe = Recipe.model_validate({"base": "tiny", "stages": [judged(url)]})
    [problem] = find_unreachable(recipe)
    assert problem.field == "stages[0].rewards[1].endpoint"
    assert problem.message.startswith(f"{url} cannot be reached")
    with serve(lambda *_: grades(2)) as server:
        assert find_unreachable(Recipe.model_validate({"base": "tiny", "stages": [judged(server.url)]})) == []
        [other] = find_unreachable(Recipe.model_validate({"base": "tiny", "stages": [judged(server.url, model="x")]}))
        assert "does not serve x but judge" in other.message
    assert find_unreachable(Recipe.model_validate({"stages": [tiny_stage(3)]})) == []


def test_the_platform_asks_for_the_sandbox_before_launch():
    url = away().removesuffix("/v1")
    stage = {
        **GRPO,
        "rewards": [{"kind": "overlong", "buffer": 16}, {"kind": "unit_tests", "sandbox": {"base_url": url}}],
    }
    [problem] = find_unreachable(Recipe.model_validate({"base": "tiny", "stages": [stage]}))
    assert problem.field == "stages[0].rewards[1].sandbox"
    assert (
        problem.message == f"{url} cannot be reached (Connection refused). Start the sandbox, or correct the address."
    )


@pytest.mark.django_db
def test_nothing_is_launched_without_its_judge(project, researcher):
    add_texts(project)
    rows = "".join(json.dumps(row) + "\n" for row in question_rows(8))
    import_dataset(
        project=project,
        slug="questions",
        kind="prompts",
        file=io.BytesIO(rows.encode()),
        format="jsonl",
        uses=["train"],
        licence="CC0-1.0",
        actor=researcher,
    )
    with serve(lambda *_: grades(2)) as server:
        revision = write_recipe(project, [tiny_stage(3), judged(server.url)])
        assert launch_run(revision=revision, owner=researcher).number == 1
    with pytest.raises(LaunchRefused) as refused:
        launch_run(revision=revision, owner=researcher)
    assert [problem.field for problem in refused.value.problems] == ["stages[1].rewards[1].endpoint"]
    assert Run.objects.count() == 1


def test_a_wrong_reward_in_run_json_is_named_as_people_write_it(tmp_path: Path, base: Path):
    def refusal(*rewards: dict[str, Any]) -> list[str]:
        out = write_rollout_run(tmp_path / str(len(list(tmp_path.iterdir()))), [GRPO], base)
        spec = json.loads((out / "run.json").read_text())
        spec["recipe"]["stages"][0]["rewards"] = list(rewards)
        (out / "run.json").write_text(json.dumps(spec))
        with pytest.raises(InvalidSpec) as refused:
            read_spec(out)
        return refused.value.errors

    path = "recipe.stages[0].rewards"
    assert refusal({"kind": "exact"}, {"kind": "judge", "endpoint": {"base_url": "x", "model": "y"}}) == [
        f"{path}[1].endpoint.base_url: is no address like http://127.0.0.1:8000/v1."
    ]
    assert refusal({"kind": "kimi", "correct": "exact"}) == [
        f"{path}: rewards[0].correct: no reward before it is named exact; put the reward it names before it."
    ]
    assert refusal() == [f"{path}: List should have at least 1 item after validation, not 0."]
