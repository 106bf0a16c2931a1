"""What pages say about a run in words: its method, base, datasets, progress and the time it still needs."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from chanote.runs.models import Attempt, Run, State

SECONDS_PER_STEP = "system/seconds_per_step"
IDLE_SHARE = "system/idle_share"
LOSS = "train/loss"
REWARD = "rollout/reward"


def name_stage(stage: Mapping[str, Any]) -> str:
    return str(stage.get("name") or stage.get("kind") or "stage")


def list_stages(run: Run) -> list[Mapping[str, Any]]:
    """Stages of the frozen recipe; nothing when the snapshot holds none."""
    return list(run.snapshot.get("recipe", {}).get("stages", []))


def name_method(run: Run, *, only_training: bool = False) -> str:
    """Kinds of the stages in order, such as `cpt → sft → evaluate`, each once in a row."""
    kinds: list[str] = []
    for stage in list_stages(run):
        kind = str(stage.get("kind", ""))
        if kind and kinds[-1:] != [kind] and not (only_training and kind == "evaluate"):
            kinds.append(kind)
    return " → ".join(kinds) or "evaluate"


def list_datasets(run: Run) -> list[str]:
    """Names of the datasets that the stages train on, each once, in the order of use."""
    found: dict[str, None] = {}
    for stage in list_stages(run):
        for name, sources in stage.items():
            if name == "held_out" or not isinstance(sources, list):
                continue
            for source in sources:
                if isinstance(source, Mapping) and "dataset" in source:
                    found.setdefault(str(source["dataset"]), None)
    return [name for name in found if name]


def name_base(run: Run) -> str:
    return str(run.base) if run.base else str(run.snapshot.get("recipe", {}).get("base") or "random weights")


def list_teachers(run: Run) -> list[str]:
    """Models that stages learn from, each once."""
    return list(dict.fromkeys(str(stage["teacher"]) for stage in list_stages(run) if stage.get("teacher")))


def time_spent(attempts: Iterable[Attempt], now: datetime | None = None) -> float:
    """Seconds that the attempts were alive, without the pauses between them."""
    now = now or timezone.now()
    spent = timedelta()
    for attempt in attempts:
        if attempt.started is not None:
            spent += max((attempt.ended or now) - attempt.started, timedelta())
    return spent.total_seconds()


def time_left(run: Run, seconds_per_step: float | None) -> float | None:
    """Seconds until the last planned step at the latest speed; None when not running or not known."""
    if run.state != State.RUNNING or not run.total_steps or not seconds_per_step:
        return None
    left = (run.total_steps - run.step) * seconds_per_step
    return left if math.isfinite(left) and left >= 0 else None


@dataclass(frozen=True)
class Verb:
    """An action on a run as a button: usable, or closed with the reason in a sentence."""

    name: str
    label: str
    refusal: str = ""


def list_verbs(run: Run, *, allowed: bool, has_checkpoint: bool) -> list[Verb]:
    """Every action on a run in the order of the page's head; the services check again."""
    state = State(run.state)
    word = str(state.label).lower()
    role = "" if allowed else "Your role in this project does not allow it; an admin of the project can change that."
    over = f"The run is {word}: nothing is running."
    alive = "The run is still active; stop or cancel it first."
    stop = {State.QUEUED: "The run has not started: cancel it instead.", State.STOPPING: "The run is already stopping."}
    resume = (
        alive if run.is_active else "" if has_checkpoint else "The run left no checkpoint: retry it from the start."
    )
    if state == State.FINISHED:
        resume = "The run finished; launch its recipe again for another."
    retry = alive if run.is_active else "The run finished; launch its recipe again." if state == State.FINISHED else ""
    return [
        Verb("stop", "Stop and save", role or stop.get(state, "" if run.is_active else over)),
        Verb("cancel", "Cancel", role or ("" if run.is_active else over)),
        Verb("resume", "Resume", role or resume),
        Verb("retry", "Retry", role or retry),
    ]
