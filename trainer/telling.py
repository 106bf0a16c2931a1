"""What a person reads in the attempt's output: the events in a line each, metrics now and then."""

import contextlib
import os
import sys
import time
from typing import TextIO

from trainer.contract.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptStopped,
    CheckpointSaved,
    Event,
    MemoryMeasured,
    MemoryPlanned,
    MetricsLogged,
    RolloutsStored,
    RunFinished,
    StageFinished,
    StageStarted,
    TaskScored,
)

SECONDS_BETWEEN_METRICS = 10.0
MEASURED_ALIKE = 1.01
"""A plan is kept when what was taken is at most so many times what it said: the same to a reader of the numbers."""
SHOWN = ("train/loss", "rollout/reward", "train/learning_rate", "system/tokens_per_s")


class Teller:
    """Prints events. An output that cannot be written, on a full disk or to a closed pipe, never ends the run."""

    def __init__(self) -> None:
        self._last = -SECONDS_BETWEEN_METRICS

    def tell(self, event: Event) -> None:
        if isinstance(event, MetricsLogged):
            if time.monotonic() - self._last < SECONDS_BETWEEN_METRICS:
                return
            self._last = time.monotonic()
        if sentence := describe(event):
            say(f"{time.strftime('%H:%M:%S')} {sentence}")


def say(sentence: str, stream: TextIO | None = None) -> None:
    """Print a line at once, or not at all where that is impossible."""
    stream = stream or sys.stdout
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # no file behind it, as under a test
        print(sentence, file=stream)
        return
    # Past Python's buffer: what stays in it on a full disk fails again at exit and takes the exit code's place.
    with contextlib.suppress(OSError):
        os.write(number, f"{sentence}\n".encode())


def describe(event: Event) -> str:
    """One line for a person; empty for an event that only the platform needs."""
    match event:
        case AttemptStarted():
            packages = ", ".join(f"{name} {version}" for name, version in event.packages.items())
            resumed = f", going on after step {event.resumed_from_step}" if event.resumed_from_step is not None else ""
            return f"on {event.device} with {event.threads} thread(s) ({packages}){resumed}"
        case StageStarted():
            span = f", {event.steps} steps from step {event.first_step}" if event.steps else ""
            return f"stage {event.stage + 1} ({event.name or event.kind}) begins{span}"
        case MemoryPlanned():
            return _describe_plan(event)
        case MemoryMeasured():
            return _describe_measured(event)
        case MetricsLogged():
            values = [f"{key.rpartition('/')[2]} {event.values[key]:.5g}" for key in _numbers(event)]
            return f"step {event.step}: {', '.join(values)}" if values else ""
        case RolloutsStored():
            masked = f", {event.masked} of them masked" if event.masked else ""
            return f"step {event.step}: {event.rollouts} rollouts kept in {event.path}{masked}"
        case CheckpointSaved():
            return f"step {event.step} saved to {event.path} ({event.bytes / 1e6:.1f} MB)"
        case TaskScored():
            missing = f", {event.left_out} of them left out" if event.left_out else ""
            return f"task {event.task}: mean {float(event.mean):.4f} of {event.samples} samples{missing}"
        case StageFinished():
            return f"stage {event.stage + 1} has ended at step {event.step}"
        case RunFinished():
            return f"finished at step {event.step}"
        case AttemptStopped():
            return f"stopped at step {event.step}: {event.reason}"
        case AttemptFailed():
            return f"failed: {event.error}"
    return ""


def _describe_plan(event: MemoryPlanned) -> str:
    needed = {phase: sum(parts.values()) for phase, parts in event.phases.items()}
    widest = max(needed, key=lambda phase: needed[phase])
    each = ", ".join(f"{phase} {_gb(size)}" for phase, size in needed.items())
    parts = ", ".join(f"{name} {_gb(size)}" for name, size in event.phases[widest].items())
    parked = ", ".join(f"{name} {_gb(size)}" for name, size in event.parked.items())
    swapped = f"; kept elsewhere meanwhile: {parked}" if event.swap else ""
    return (
        f"memory of a process: at most {_gb(event.peak)} GB of the {_gb(event.room)} GB of {event.where} ({each}); in "
        f"{widest}: {parts}{swapped}"
    )


def _describe_measured(event: MemoryMeasured) -> str:
    if event.measured <= event.before:
        return f"memory after the stage's first steps: no more than the {_gb(event.before)} GB taken before it began"
    judged = "within" if event.measured <= event.planned * MEASURED_ALIKE else "MORE THAN"
    return (
        f"memory after the stage's first steps: {_gb(event.measured)} GB, {judged} the {_gb(event.planned)} GB planned"
    )


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f}" if size >= 1e7 else f"{size / 1e9:.4f}"


def _numbers(event: MetricsLogged) -> list[str]:
    return [key for key in SHOWN if isinstance(event.values.get(key), float | int)]
