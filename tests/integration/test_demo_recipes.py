"""The library recipes in which the policy writes, cut to a few steps, on the demo's real base and rows."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.trainer_runs import REPOSITORY, events_of, metric, run_here
from trainer.contract import ModelFile, Recipe, RunSpec
from trainer.contract.hashing import hash_directory
from trainer.demoworld.catalogue import BASE_MODEL, read_recipe
from trainer.demoworld.files import write_datasets

pytestmark = [pytest.mark.trains, pytest.mark.timeout(600)]


def run_shortened(out: Path, slug: str, **changes: Any) -> list[str]:
    """Three steps of each training stage, nothing scored; the kinds of the stages."""
    content = yaml.safe_load(read_recipe(slug))
    stages = [stage for stage in content["stages"] if stage["kind"] != "evaluate"]
    for stage in stages:
        stage.update({"steps": 3, "checkpoint_every": 0} | changes.get(stage["kind"], {}))
    recipe = Recipe.model_validate({**content, "stages": stages})
    directory = REPOSITORY / BASE_MODEL["directory"]
    base = ModelFile(path=str(directory), sha256=hash_directory(directory))
    teachers = {slug: base for stage in recipe.stages for slug in stage.named_models().values()}
    spec = RunSpec(run=slug, recipe=recipe, base=base, models=teachers, datasets=write_datasets(out), device="cpu")
    (out / "run.json").write_text(spec.model_dump_json(), encoding="utf-8")
    assert run_here(out) == 0, (out / "events.jsonl").read_text("utf-8")
    return [stage["kind"] for stage in stages]


def test_the_policy_answers_practice_questions_in_the_form_that_the_reward_compares(tmp_path: Path):
    """The base knows the form of an answer and not its value: completions end by themselves, and few are right."""
    assert run_shortened(tmp_path, "ink-grpo", ink_grpo={"knowledge_rate": 1.0}) == ["ink_grpo"]
    assert list(metric(tmp_path, "knowledge/loss")) == [1, 2, 3]
    assert all(share < 0.2 for share in metric(tmp_path, "rollout/truncated_share").values())
    assert all(reward < 0.2 for reward in metric(tmp_path, "rollout/reward").values())
    assert sum(metric(tmp_path, "rollout/faults/exact").values()) == 0


def test_the_control_differs_from_it_in_reading_alone():
    ink, alone = (yaml.safe_load(read_recipe(slug))["stages"][0] for slug in ("ink-grpo", "grpo-alone"))
    for field in ("corpus", "knowledge_weight", "knowledge_rate", "knowledge_batch_size"):
        del ink[field]
    assert {**ink, "kind": "grpo"} == alone


def test_the_base_teaches_the_policy_that_came_from_it(tmp_path: Path):
    assert run_shortened(tmp_path, "sft-opd", opd={"on_policy": 1.0}) == ["cpt", "sft", "opd"]
    divergence = metric(tmp_path, "distil/divergence_on_policy")
    assert list(divergence) == [7, 8, 9]
    assert all(value > 0 for value in divergence.values()), "six steps have moved the policy away from its teacher"
    assert [event.kind for event in events_of(tmp_path, "stage_started")] == ["cpt", "sft", "opd"]
