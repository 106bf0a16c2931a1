"""Whether a recipe fits into the memory of the machine that will run it, where the platform can know that machine."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from django.conf import settings

from chanote.accounts.models import Project
from chanote.models.models import Model
from chanote.web.problems import Problem
from trainer.contract import Recipe
from trainer.contract.dimensions import Dimensions, dimensions_of, read_dimensions
from trainer.contract.fitting import Room, fit_stage
from trainer.contract.machine import machine_memory
from trainer.contract.memory import PROGRAM, Setting
from trainer.contract.stages.base import TrainingStage
from trainer.contract.stages.cpt import CptStage
from trainer.contract.vllm import VllmSettings

GPU_DRIVER = Path("/proc/driver/nvidia/version")


def find_misfits(project: Project, recipe: Recipe) -> Iterator[Problem]:
    """A problem for each stage that cannot fit. Silent where the machine or a model's sizes are not known: the trainer
    works out the same plan before it loads anything.
    """
    policy = _policy_of(project, recipe)
    room = _room_here()
    if policy is None or room is None:
        return
    gpu = room.where != "this machine"
    vllm = _vllm_settings()
    for number, stage in enumerate(recipe.stages):
        if not isinstance(stage, TrainingStage):
            continue
        others = {slug: size for slug in stage.named_models().values() if (size := _dimensions(project, slug))}
        half = stage.compute.precision == "bf16" or (gpu and stage.compute.precision == "auto")
        setting = Setting(gpu=gpu, half=half, swap=False, program=0 if gpu else PROGRAM, vllm=vllm)
        if problem := fit_stage(stage, policy, others, setting, room).problem:
            yield Problem(f"stages[{number}].compute", problem)


def _vllm_settings() -> VllmSettings:
    """As the trainer on this machine will find them; what makes no sense there is the trainer's to say."""
    try:
        return VllmSettings().with_environment(os.environ)
    except ValueError:
        return VllmSettings()


def _policy_of(project: Project, recipe: Recipe) -> Dimensions | None:
    first = recipe.stages[0]
    if isinstance(first, CptStage) and first.initialise is not None:
        return dimensions_of(first.initialise)
    return _dimensions(project, recipe.base)


def _dimensions(project: Project, slug: str) -> Dimensions | None:
    model = Model.objects.filter(project=project, slug=slug).first()
    if model is None or not model.parameters:
        return None
    try:
        config = json.loads((Path(model.location) / "config.json").read_bytes())
    except (OSError, ValueError):
        return None
    return read_dimensions(config, model.parameters) if isinstance(config, dict) else None


def _room_here() -> Room | None:
    """Of the machine that trains; None where it is another one, or its GPU does not say what it has."""
    if not settings.CELERY_BROKER_URL.startswith("filesystem:"):
        return None
    if not GPU_DRIVER.exists():
        return Room("this machine", machine_memory())
    size = _gpu_memory()
    return Room("the GPU", size, "the CPU's memory", machine_memory()) if size else None


@cache
def _gpu_memory() -> int | None:
    """Bytes of the smallest GPU, as the driver's own program tells them."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    try:
        told = subprocess.run(
            [command, "--query-gpu=memory.total", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return min(int(line) for line in told.stdout.split()) << 20
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
