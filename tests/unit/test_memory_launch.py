"""The platform refuses to launch what cannot fit, where it knows the machine and the models."""

import json
from pathlib import Path
from typing import Any

import pytest

from chanote.models.models import Model, Origin
from chanote.runs import memory
from chanote.runs.freezing import LaunchRefused, find_obstacles
from chanote.runs.models import Run
from chanote.runs.services import launch_run
from tests.installation import add_texts, tiny_stage, write_recipe
from trainer.contract import Recipe
from trainer.contract.memory import PROGRAM

pytestmark = pytest.mark.django_db
LARGE = {
    "model_type": "qwen3",
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "num_hidden_layers": 36,
    "intermediate_size": 12288,
    "vocab_size": 151_936,
    "tie_word_embeddings": False,
}
PARAMETERS = 8_190_735_360


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Make this a machine without a GPU and with so many bytes of memory."""

    def make(size: int, *, gpu: int | None = None) -> None:
        driver = tmp_path / "driver"
        if gpu is not None:
            driver.touch()
        monkeypatch.setattr(memory, "GPU_DRIVER", driver)
        monkeypatch.setattr(memory, "machine_memory", lambda: size)
        monkeypatch.setattr(memory, "_gpu_memory", lambda: gpu)

    return make


@pytest.fixture
def large(project, researcher, tmp_path: Path) -> Recipe:
    """A recipe that trains all weights of a model of eight billion."""
    add_texts(project)
    location = tmp_path / "large"
    location.mkdir()
    (location / "config.json").write_text(json.dumps(LARGE))
    Model.objects.create(
        project=project,
        slug="large",
        origin=Origin.DIRECTORY,
        location=str(location),
        sha256="0" * 64,
        parameters=PARAMETERS,
        context_length=32_768,
    )
    return Recipe.model_validate(
        {
            "base": "large",
            "stages": [{"kind": "cpt", "data": [{"dataset": "texts"}], "steps": 5, "sequence_length": 512}],
        }
    )


def misfits(project: Any, recipe: Recipe) -> list[str]:
    return [str(problem) for problem in find_obstacles(project, recipe) if "takes up to" in problem.message]


def test_what_takes_more_than_the_machine_has_is_refused_with_both_numbers(project, large, machine):
    machine(64 << 30)
    [refusal] = misfits(project, large)
    assert refusal.startswith("stages[0].compute: this stage takes up to ")
    assert "this machine has 68.7 GB" in refusal
    assert "moments 65.5" in refusal  # 8 bytes a parameter
    assert "weights 32.8, gradients 32.8" in refusal
    assert "; it would fit with gradient_checkpointing: true and lora: {} (" in refusal


def test_what_fits_is_not_refused(project, large, machine):
    machine(512 << 30)
    assert misfits(project, large) == []


def test_a_gpu_counts_where_there_is_one(project, large, machine):
    machine(1 << 40, gpu=80 << 30)
    [refusal] = misfits(project, large)
    assert "the GPU has 85.9 GB" in refusal
    machine(1 << 40, gpu=None)
    (memory.GPU_DRIVER).touch()
    assert misfits(project, large) == []  # a GPU that does not say what it has: the trainer will know


def test_another_machine_is_not_guessed_at(project, large, machine, settings):
    machine(1 << 30)
    settings.CELERY_BROKER_URL = "redis://queue:6379/0"
    assert misfits(project, large) == []


def test_a_launch_that_cannot_fit_leaves_no_run(project, researcher, machine):
    add_texts(project)
    machine(PROGRAM)  # nothing is left beside the program itself
    with pytest.raises(LaunchRefused, match=r"stages\[0\]\.compute: this stage takes up to"):
        launch_run(revision=write_recipe(project, [tiny_stage(4)]), owner=researcher)
    assert not Run.objects.exists()
    machine(1 << 40)
    assert launch_run(revision=write_recipe(project, [tiny_stage(4)]), owner=researcher).number == 1
