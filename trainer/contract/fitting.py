"""Whether a stage fits into the memory there is, said with its numbers before anything is loaded."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainer.contract.dimensions import Dimensions
from trainer.contract.memory import MemoryPlan, Setting, plan_memory
from trainer.contract.stages.base import ComputeConfig, LoraConfig, TrainingStage


@dataclass(frozen=True)
class Room:
    """What one process of a run may take."""

    where: str
    """Such as `the GPU` or `this machine`."""
    size: int
    """Bytes of the device that computes."""
    elsewhere: str = ""
    """Where the device's memory is swapped to."""
    parking: int | None = None
    """Bytes there; None: not known."""
    device: int = 0
    """Bytes of the whole device where `size` is what is left of it; 0: `size` is all."""


@dataclass(frozen=True)
class Fit:
    plan: MemoryPlan
    swap: bool
    problem: str
    """Why the stage does not fit, with a way out; empty when it does."""


def fit_stage(
    stage: TrainingStage, policy: Dimensions, others: Mapping[str, Dimensions], setting: Setting, room: Room
) -> Fit:
    """Plan with swapping as the stage says. `auto` swaps on a GPU where the stage would not fit otherwise."""
    setting = replace(setting, capacity=room.size, device=room.device or room.size)
    wanted = stage.compute.swap

    def plan(one: TrainingStage, *, swap: bool) -> MemoryPlan:
        return plan_memory(one, policy, others, replace(setting, swap=swap))

    found = plan(stage, swap=wanted == "on")
    swap = wanted == "on"
    if wanted == "auto" and setting.gpu and found.peak > room.size:
        found, swap = plan(stage, swap=True), True
    if found.peak > room.size:
        ways = (
            f"{said} ({_gb(peak)} GB)"
            for said, changed, on in _ways_out(stage, swap=swap)
            if (peak := plan(changed, swap=on).peak) <= room.size
        )
        way = next(ways, "")
        advice = (
            f"it would fit with {way}" if way else "shorten sequence_length, train fewer weights or a smaller model"
        )
        parts = sorted(found.phases[found.widest].items(), key=lambda part: -part[1])
        listed = ", ".join(f"{name} {_gb(size)}" for name, size in parts if size >= found.peak / 100)
        return Fit(
            found,
            swap,
            f"this stage takes up to {_gb(found.peak)} GB and {room.where} has {_gb(room.size)} GB; most is needed in "
            f"the phase {found.widest} ({listed}); {advice}.",
        )
    parked = sum(found.parked.values())
    if room.parking is not None and parked > room.parking:
        return Fit(
            found,
            swap,
            f"swapping keeps up to {_gb(parked)} GB in {room.elsewhere}, where {_gb(room.parking)} GB are left; make "
            "room there or set swap to off.",
        )
    return Fit(found, swap, "")


def _ways_out(stage: TrainingStage, *, swap: bool) -> Iterator[tuple[str, TrainingStage, bool]]:
    """Settings that need less, the mildest first: what to write, the stage with it, whether it swaps."""
    choices: list[tuple[str, dict[str, Any], bool]] = [("", {}, False)]
    if not swap:
        choices.append(("swap: on", {}, True))
    compute = stage.compute
    spared: list[tuple[str, dict[str, Any]]] = [("", {})]
    if not compute.gradient_checkpointing:
        spared.append(("gradient_checkpointing: true", {"compute": _checkpointed(compute)}))
    if stage.gradient_accumulation < stage.batch_size:
        split = {"gradient_accumulation": stage.batch_size}
        spared.append((f"gradient_accumulation: {stage.batch_size}", split))
        if not compute.gradient_checkpointing:
            spared.append(
                (
                    f"gradient_accumulation: {stage.batch_size} and gradient_checkpointing: true",
                    {**split, "compute": _checkpointed(compute)},
                )
            )
    if stage.lora is None:
        spared += [
            (f"{said} and lora: {{}}" if said else "lora: {}", {**update, "lora": LoraConfig()})
            for said, update in list(spared)
        ]
    for said, update in spared:
        for with_swap, _, on in choices:
            words = " and ".join(part for part in (said, with_swap) if part)
            if words:
                yield words, stage.model_copy(update=update), on or swap


def _checkpointed(compute: ComputeConfig) -> ComputeConfig:
    return compute.model_copy(update={"gradient_checkpointing": True})


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f}" if size >= 1e8 else f"{size / 1e9:.3f}"
