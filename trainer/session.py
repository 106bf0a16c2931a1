"""What lives as long as an attempt: the policy, the counters, the event log, the newest checkpoint."""

import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainer.ahead import check_later_stages
from trainer.algorithms.base import Progress
from trainer.checkpoints import (
    Checkpoint,
    open_checkpoint,
    remove_checkpoint,
    sweep_partial,
    write_checkpoint,
)
from trainer.contract.events import (
    AttemptStarted,
    CheckpointRemoved,
    CheckpointSaved,
    EnergyPart,
    EnergyUsed,
    MetricsLogged,
    PhaseProgressed,
)
from trainer.contract.spec import RunSpec
from trainer.contract.stages import StageBase
from trainer.data.rows import RowFile
from trainer.energy import Meter, add_parts, mean_watts
from trainer.events_log import EventLog
from trainer.failures import InvalidSpec
from trainer.hardware import choose_device, describe_hardware, package_versions
from trainer.inputs import check_base, fingerprint, open_datasets
from trainer.memory import StageMemory, check_memory
from trainer.policy import Policy, load_policy
from trainer.ranks import ALONE, Ranks, join_ranks
from trainer.sampling.opening import check_samplers
from trainer.stopping import StopRequest

SECONDS_BETWEEN_PROGRESS = 1.0
SECONDS_BETWEEN_ENERGY = 30.0
"""An attempt that is killed loses no more of its account."""


@dataclass
class SavedStage:
    """The part of a checkpoint that continues a stage in its middle."""

    facts: dict[str, Any]
    tensors: dict[str, Tensor]


@dataclass
class Session:
    spec: RunSpec
    out: Path
    events: EventLog
    stop: StopRequest
    rows: dict[str, RowFile]
    device: torch.device
    ranks: Ranks = ALONE
    policy: Policy | None = None
    """None until the first stage has made one."""
    stage: int = 0
    """The stage to do next, or being done."""
    step: int = 0
    """Optimiser steps of the whole run."""
    tokens: int = 0
    """Tokens that went through the policy in them."""
    saved_step: int = 0
    """Step of the newest checkpoint; nothing is lost by stopping here."""
    model_path: str = ""
    """Checkpoint that holds the present weights, relative to the attempt directory; empty for the base."""
    model_sha256: str = ""
    resumed: SavedStage | None = None
    memory: dict[int, StageMemory] = field(default_factory=dict)
    """What stages will take, by their number."""
    meter: Meter = field(default_factory=lambda: Meter([]))
    _energy: list[EnergyPart] = field(default_factory=list)
    """As told last, `_energy_at` seconds after the beginning."""
    _energy_at: float = 0.0
    _mid_stage: list[Checkpoint] = field(default_factory=list)

    def remaining_stages(self) -> Iterator[tuple[int, StageBase]]:
        for number in range(self.stage, len(self.spec.recipe.stages)):
            self.stop.leave_together()
            self.stage = number
            yield number, self.spec.recipe.stages[number]

    def take_resumed(self) -> SavedStage | None:
        """The saved state of the first stage of a resumed attempt, once."""
        resumed, self.resumed = self.resumed, None
        return resumed

    def progress(self, number: int) -> Progress:
        """Tells about phases of a stage, at most once a second, and leaves them when a stop was asked for."""
        last = 0.0

        def tell(phase: str, done: int, total: int) -> None:
            nonlocal last
            self.stop.leave_if_asked()
            if done == total or time.monotonic() - last >= SECONDS_BETWEEN_PROGRESS:
                last = time.monotonic()
                self.events.emit(PhaseProgressed(stage=number, phase=phase, done=done, total=total))

        return tell

    def tell_energy(self, *, now: bool = True) -> None:
        """Tell what all ranks have used since the attempt began: now, or if the last time was a while ago.

        Every rank must come by here equally often.
        """
        due = self.meter.seconds() - self._energy_at >= SECONDS_BETWEEN_ENERGY
        if not (now or self.ranks.from_first(due)):
            return
        parts = add_parts(self.ranks.gather(self.meter.read()))
        seconds = self.meter.seconds()
        if self._energy:
            watts = mean_watts(self._energy, parts, seconds=seconds - self._energy_at)
            if watts is not None and self.step:
                self.events.emit(MetricsLogged(stage=self.stage, step=self.step, values={"system/watts": watts}))
        self._energy, self._energy_at = parts, seconds
        self.events.emit(EnergyUsed(step=self.step, seconds=seconds, parts=parts))

    def save(self, facts: dict[str, Any], tensors: dict[str, Tensor], *, stage_finished: bool) -> None:
        """Write a checkpoint, tell of it, and remove the oldest one that is no longer wanted.

        Every rank brings its share of the weights; the first one writes.
        """
        policy = self.policy
        assert policy is not None
        weights = policy.whole_weights()
        state = {
            "fingerprint": fingerprint(self.spec),
            "stage": self.stage,
            "step": self.step,
            "tokens": self.tokens,
            "stage_finished": stage_finished,
            "facts": facts,
        }

        def write_state(directory: Path) -> None:
            (directory / "state.json").write_text(json.dumps(state), encoding="utf-8")
            save_file({**tensors, **_generator_states(self.device)}, directory / "tensors.safetensors")

        checkpoint = None
        if self.ranks.first:
            checkpoint = write_checkpoint(
                self.out / "checkpoints",
                step=self.step,
                stage_finished=stage_finished,
                write_model=lambda directory: policy.save(directory, weights),
                write_state=write_state,
            )
        checkpoint = self.ranks.from_first(checkpoint)
        assert checkpoint is not None
        self.saved_step = self.step
        self.model_path, self.model_sha256 = self._relative(checkpoint.path), checkpoint.model_sha256
        self.events.emit(
            CheckpointSaved(
                stage=self.stage,
                step=self.step,
                path=self.model_path,
                sha256=checkpoint.model_sha256,
                bytes=checkpoint.bytes,
                stage_finished=stage_finished,
            )
        )
        if not stage_finished:
            self._mid_stage.append(checkpoint)
        while len(self._mid_stage) > self.spec.keep_checkpoints:
            old = self._mid_stage.pop(0)
            if self.ranks.first:
                remove_checkpoint(old.path)
            self.events.emit(CheckpointRemoved(step=old.step, path=self._relative(old.path)))

    def _relative(self, path: Path) -> str:
        return Path(os.path.relpath(path, self.out)).as_posix()


def open_session(out: Path, spec: RunSpec, events: EventLog, stop: StopRequest) -> Session:
    """Verify everything the spec names, tell that the attempt lives, and load the policy it starts with."""
    rows = open_datasets(spec)
    check_samplers(spec)
    device = choose_device(spec.device)
    ranks = stop.ranks = join_ranks(device)
    session = Session(
        spec=spec, out=out, events=events, stop=stop, rows=rows, device=device, ranks=ranks, meter=Meter.open(device)
    )
    if ranks.first:
        sweep_partial(out / "checkpoints")
    model = _resume(session, Path(spec.resume_from)) if spec.resume_from else _start(session)
    session.memory = check_memory(spec, model=model, out=out, device=device, ranks=ranks)
    events.emit(
        AttemptStarted(
            pid=os.getpid(),
            hostname=socket.gethostname(),
            device=str(device),
            threads=torch.get_num_threads(),
            packages=package_versions(),
            hardware={**describe_hardware(device), "processes": ranks.count},
            resumed_from_step=session.step if spec.resume_from else None,
        )
    )
    check_later_stages(spec, rows, after=session.stage, base=model)
    if model is not None:
        session.policy = load_policy(model, device=device, field="resume_from" if spec.resume_from else "base.path")
    return session


def _start(session: Session) -> Path | None:
    if session.spec.base is None:
        return None
    session.model_sha256 = session.spec.base.sha256
    return check_base(session.spec)


def _resume(session: Session, path: Path) -> Path:
    """Put the counters where the checkpoint left them."""
    manifest = open_checkpoint(path)
    state = json.loads((path / "state" / "state.json").read_bytes())
    if state["fingerprint"] != fingerprint(session.spec):
        raise InvalidSpec(
            f"resume_from: {path} was written with another recipe, base or data than this spec names; "
            "resume it with its own, or start a new run from its model."
        )
    session.stage = state["stage"] + (1 if state["stage_finished"] else 0)
    session.step = session.saved_step = state["step"]
    session.tokens = state["tokens"]
    session.model_path = session._relative(path)
    session.model_sha256 = manifest["model_sha256"]
    tensors = load_file(path / "state" / "tensors.safetensors")
    if not state["stage_finished"]:
        session.resumed = SavedStage(state["facts"], tensors)
    return path / "model"


def _generator_states(device: torch.device) -> dict[str, Tensor]:
    states = {"generator/cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["generator/cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_generators(tensors: dict[str, Tensor]) -> None:
    torch.set_rng_state(tensors["generator/cpu"])
    if "generator/cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["generator/cuda"])
