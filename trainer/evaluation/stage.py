"""The evaluate stage of a run: every task scored, its samples in a file, its mean in an event."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from trainer.contract import RunSpec, TaskSpec
from trainer.contract.events import NonFinite, PhaseProgressed, ScoredSample, TaskScored
from trainer.contract.stages.evaluate import EvaluateStage
from trainer.contract.toolsets import ToolsetSpec
from trainer.evaluation.errors import EvaluationInterrupted
from trainer.evaluation.evaluate import evaluate_items, mean_score
from trainer.evaluation.tasks import read_rows

if TYPE_CHECKING:
    from trainer.events_log import EventLog

PROGRESS_SECONDS = 1.0


def run_evaluate_stage(
    *,
    model: Any,
    tokenizer: Any,
    stage: EvaluateStage,
    stage_number: int,
    step: int,
    spec: RunSpec,
    out: Path,
    events: "EventLog",
    checkpoint_path: str,
    model_sha256: str,
    should_stop: Callable[[], bool],
) -> bool:
    """Score the policy on each task of the stage; False when stopped midway. Raises TaskError.

    Samples of a task stand in `out/evaluations/stage-<number>-<task>.jsonl`, which exists only once it is whole.
    """
    for name in stage.tasks:
        task = spec.tasks[name]
        path = out / "evaluations" / f"stage-{stage_number}-{name}.jsonl"

        def tell(done: int, total: int, phase: str = f"evaluate/{name}") -> None:
            events.emit(PhaseProgressed(stage=stage_number, phase=phase, done=done, total=total))

        started = time.monotonic()
        samples = score_task(
            task,
            Path(spec.datasets[task.dataset].path),
            model=model,
            tokenizer=tokenizer,
            path=path,
            tell=tell,
            should_stop=should_stop,
            toolset=spec.toolset,
            name=f"{spec.run}.{spec.attempt} stage {stage_number}",
        )
        if samples is None:
            return False
        events.emit(
            TaskScored(
                stage=stage_number,
                step=step,
                task=name,
                board=stage.board,
                model_sha256=model_sha256,
                checkpoint_path=checkpoint_path,
                samples_path=path.relative_to(out).as_posix(),
                samples=len(samples),
                left_out=sum(sample.status == "left_out" for sample in samples),
                mean=_finite(mean_score(task, samples)),
                seconds=time.monotonic() - started,
            )
        )
    return True


def score_task(
    task: TaskSpec,
    data: Path,
    *,
    model: Any,
    tokenizer: Any,
    path: Path,
    tell: Callable[[int, int], None],
    should_stop: Callable[[], bool],
    toolset: ToolsetSpec | None = None,
    name: str = "",
) -> list[ScoredSample] | None:
    """Score one task and write its samples to `path`; None, and no file, when stopped."""
    items, answers = evaluate_items(
        task,
        read_rows(data),
        model=model,
        tokenizer=tokenizer,
        should_stop=should_stop,
        toolset=toolset,
        name=name,
    )
    tell(0, len(items))
    told = time.monotonic()
    samples: list[ScoredSample] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".jsonl.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            for sample in answers:
                samples.append(sample)
                file.write(sample.model_dump_json() + "\n")
                if time.monotonic() - told >= PROGRESS_SECONDS:
                    tell(min(len(samples), len(items)), len(items))  # an item may have several samples
                    told = time.monotonic()
                if should_stop():
                    raise EvaluationInterrupted
            _sync(file)
    except EvaluationInterrupted:
        partial.unlink()
        return None
    partial.replace(path)
    tell(len(items), len(items))
    return samples


def _sync(file: TextIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _finite(value: float) -> float | NonFinite:
    return value if value == value else "NaN"
