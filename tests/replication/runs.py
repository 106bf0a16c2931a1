"""Training and scoring with the trainer itself: a recipe, its data, and what the last evaluate stage found."""

import atexit
import json
import os
import resource
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.replication.laws import Row
from tests.trainer_runs import REPOSITORY, events_of, run_here, write_rows, write_run
from trainer.contract.hashing import hash_directory

RESULTS = REPOSITORY / "build" / "replication"
KINDS = {"messages": "chat", "text": "text", "choices": "choices", "question": "prompts"}

Scores = dict[str, dict[str, float]]
"""Arm → task → score."""


@cache
def scratch() -> Path:
    """Where runs lie: the folder that REPLICATION_BUILD names, else one that ends with the process.

    Bases that an earlier process left in a named folder are used again; otherwise nothing old can pass for new.
    """
    if named := os.environ.get("REPLICATION_BUILD"):
        return Path(named).resolve()
    folder = Path(tempfile.mkdtemp(prefix="replication-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@dataclass(frozen=True)
class Outcome:
    scores: dict[str, float]
    """Mean of each task."""
    out: Path
    """Attempt directory."""
    model: Path
    """Checkpoint of the last training stage."""
    cpu_s: float
    tokens: int
    """That went through the policy in optimiser steps."""

    def samples(self, task: str) -> list[dict[str, Any]]:
        """What was answered to each item of a task, in the order of its rows."""
        path = next(self.out.glob(f"evaluations/*-{task}.jsonl"))
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def as_record(self) -> dict[str, float]:
        return {
            **{task: round(mean, 4) for task, mean in self.scores.items()},
            "tokens": self.tokens,
            "cpu_s": round(self.cpu_s, 1),
        }


def train(
    folder: Path,
    stages: list[dict[str, Any]],
    datasets: dict[str, list[Row]],
    *,
    base: Path,
    seed: int,
    tasks: dict[str, list[Row]] | None = None,
    models: dict[str, Path] | None = None,
) -> Outcome:
    """Run the stages from `base` and score the result on each of the tasks, greedily and in the chat form."""
    folder.mkdir(parents=True, exist_ok=True)
    tasks = tasks or {}
    files = {
        f"{name}@1": write_rows(folder / f"{name}.jsonl", rows, _kind_of(rows))
        for name, rows in {**datasets, **tasks}.items()
    }
    evaluate = [{"kind": "evaluate", "tasks": list(tasks)}] if tasks else []
    out = write_run(
        folder / "run",
        [*stages, *evaluate],
        files,
        seed=seed,
        recipe={"base": "base"},
        base={"path": str(base), "sha256": hash_directory(base)},
        models={name: {"path": str(path), "sha256": hash_directory(path)} for name, path in (models or {}).items()},
        tasks={name: _task(name, rows) for name, rows in tasks.items()},
    )
    (out / "events.jsonl").unlink(missing_ok=True)
    before = cpu_seconds()
    assert run_here(out) == 0, f"{folder.name} did not finish"
    checkpoints = events_of(out, "checkpoint_saved")
    logged = events_of(out, "metrics_logged")
    return Outcome(
        scores={event.task: event.mean for event in events_of(out, "task_scored")},
        out=out,
        model=out / checkpoints[-1].path / "model" if checkpoints else base,
        cpu_s=cpu_seconds() - before,
        tokens=max((int(event.values.get("train/tokens", 0)) for event in logged), default=0),
    )


def _kind_of(rows: list[Row]) -> str:
    return next(kind for field, kind in KINDS.items() if field in rows[0])


def _task(name: str, rows: list[Row]) -> dict[str, Any]:
    statistics = {"cluster": "law_name"}
    if "choices" in rows[0]:
        shape: dict[str, Any] = {"output_type": "multiple_choice", "metric": "acc"}
    else:
        shape = {
            "output_type": "generate_until",
            "metric": "exact_match",
            "generation_kwargs": {"until": ["\n"], "max_gen_toks": 24},
        }
    return {"task": name, "dataset": f"{name}@1", "chat": True, "x_stats": statistics, **shape}


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
