"""How much memory there is, whether the run's stages fit into it, and what they really took."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from trainer.computing import choose_precision, choose_sharding
from trainer.contract.dimensions import Dimensions, dimensions_of, read_dimensions
from trainer.contract.events import MemoryMeasured, MemoryPlanned
from trainer.contract.fitting import Fit, Room, fit_stage
from trainer.contract.machine import machine_memory
from trainer.contract.memory import LATER_LIBRARIES, Setting
from trainer.contract.spec import RunSpec
from trainer.contract.stages.base import TrainingStage
from trainer.contract.stages.cpt import CptStage
from trainer.contract.vllm import VllmSettings
from trainer.events_log import EventLog
from trainer.failures import InvalidSpec
from trainer.hardware import memory_mb, memory_now
from trainer.ranks import Ranks
from trainer.sampling.opening import asks_vllm, read_settings

USABLE_OF_GPU = 0.95
"""The rest is lost between blocks of unlike size."""


@dataclass(frozen=True)
class StageMemory:
    """What is known of a stage before it begins."""

    fit: Fit
    room: Room


class PlanCheck:
    """A stage's plan, told before its first step, against what its first two steps in this attempt really took.

    Two, since in the first one there are no moments yet while gradients form.
    """

    def __init__(self, memory: StageMemory, number: int, events: EventLog, device: torch.device) -> None:
        self._memory, self._number, self._events, self._device = memory, number, events, device
        self._before = self._taken()
        self._steps = 0

    def tell_plan(self, *, swap: bool) -> None:
        plan, room = self._memory.fit.plan, self._memory.room
        self._events.emit(
            MemoryPlanned(
                stage=self._number,
                swap=swap,
                peak=plan.peak,
                room=room.size,
                where=room.where,
                phases=plan.phases,
                parked=plan.parked,
            )
        )

    def step_made(self, step: int, *, last: bool) -> None:
        """Tell what was taken after the second step, or after the first where no other follows."""
        self._steps += 1
        if self._steps == 2 or (self._steps == 1 and last):
            self._events.emit(
                MemoryMeasured(
                    stage=self._number,
                    step=step,
                    planned=self._memory.fit.plan.peak,
                    measured=self._taken(),
                    before=self._before,
                )
            )

    def _taken(self) -> int:
        """Most bytes so far."""
        return int(memory_mb(self._device) * 1e6)


def check_memory(
    spec: RunSpec, *, model: Path | None, out: Path, device: torch.device, ranks: Ranks
) -> dict[int, StageMemory]:
    """Plans by number of the stage; raises InvalidSpec for every stage that does not fit.

    `model`: what the run starts from, None when its first stage makes it. A stage whose models do not say their sizes
    has no plan.
    """
    policy = policy_dimensions(spec, model)
    if policy is None:
        return {}
    room = _find_room(device, out)
    program = 0 if device.type == "cuda" else memory_now() + LATER_LIBRARIES
    planned: dict[int, StageMemory] = {}
    errors = []
    for number, stage in enumerate(spec.recipe.stages):
        if not isinstance(stage, TrainingStage):
            continue
        others = {name: _read_directory(Path(spec.models[name].path)) for name in stage.named_models().values()}
        setting = Setting(
            gpu=device.type == "cuda",
            half=choose_precision(stage.compute, device) == "bf16",
            swap=False,
            ranks=ranks.count,
            sharded=choose_sharding(stage.compute, device, ranks),
            program=program,
            vllm=read_settings(spec) if asks_vllm(stage) else VllmSettings(),
        )
        fit = fit_stage(stage, policy, {name: size for name, size in others.items() if size}, setting, room)
        planned[number] = StageMemory(fit, room)
        if fit.problem:
            errors.append(f"recipe.stages[{number}].compute: {fit.problem}")
    if ranks.any(bool(errors)):
        raise InvalidSpec(errors or "another process of this run has too little memory; its output says for what.")
    return planned


def policy_dimensions(spec: RunSpec, model: Path | None) -> Dimensions | None:
    first = spec.recipe.stages[0]
    if model is None and isinstance(first, CptStage) and first.initialise is not None:
        return dimensions_of(first.initialise)
    return None if model is None else _read_directory(model)


def _read_directory(directory: Path) -> Dimensions | None:
    """From config.json and the headers of the weights; None where they do not say enough."""
    try:
        config: Any = json.loads((directory / "config.json").read_bytes())
        shapes: dict[str, list[int]] = {}
        for path in sorted(directory.glob("*.safetensors")):
            with safe_open(path, framework="pt") as file:
                shapes |= {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, ValueError, SafetensorError):
        return None
    if not isinstance(config, Mapping) or not shapes:
        return None
    if config.get("tie_word_embeddings", True):
        shapes.pop("lm_head.weight", None)
    return read_dimensions(config, sum(torch.Size(shape).numel() for shape in shapes.values()))


def _find_room(device: torch.device, out: Path) -> Room:
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    machine = machine_memory()
    if device.type == "cuda":
        free, whole = torch.cuda.mem_get_info(device)
        return Room("the GPU", int(free * USABLE_OF_GPU), "the CPU's memory", machine // local, device=whole)
    free = shutil.disk_usage(out).free
    where = "this machine" if local == 1 else f"each of {local} processes on this machine"
    return Room(where, machine // local, str(out), free // local)
