"""Answers that lie here judged once more, by the judges of another task that asks the same. The model is not asked."""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings

from chanote.boards.judging.identity import identify_judging
from chanote.boards.models import Board, Evaluation, Task
from chanote.boards.services import BoardError, import_evaluation, write_samples
from chanote.datasets.storage import version_path
from chanote.runs.processes import trainer_command, trainer_environment
from trainer.contract.hashing import hash_file


def rejudge_evaluation(evaluation: Evaluation, *, by: Task, board: Board | None, actor: Any = None) -> Evaluation:
    """The evaluation of the same answers on task `by`. Takes as long as its judges; raises BoardError."""
    here, there = identify_judging(evaluation.task), identify_judging(by)
    if here is None or there is None or not here.ours or not there.ours:
        raise BoardError("only tasks of output type judged can be judged again; imported results keep their judge")
    if here.family != there.family:
        raise BoardError(
            f"{by.reference} asks other questions than {evaluation.task.reference}; name a task that differs in its "
            "judges or their words only"
        )
    with tempfile.TemporaryDirectory() as folder:
        new = _ask_judges(evaluation, by, Path(folder))
        samples = _keep(new)
    return import_evaluation(
        task=by,
        model=evaluation.model,
        samples_path=samples,
        board=board,
        run=evaluation.run,
        step=evaluation.step,
        harness=evaluation.harness,
        actor=actor,
    )


def _ask_judges(evaluation: Evaluation, by: Task, folder: Path) -> Path:
    task, samples, new = folder / "task.json", folder / "samples.jsonl", folder / "new.jsonl"
    task.write_text(json.dumps(by.definition), "utf-8")
    write_samples(evaluation, samples)
    words = ["rejudge", "--task", task, "--data", version_path(by.dataset_version), "--samples", samples, "--out", new]
    command = [*trainer_command(), *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=trainer_environment())
    if ended.returncode or not new.is_file():
        told = ended.stderr.strip().splitlines()
        reason = told[-1].removeprefix("trainer rejudge: ") if told else "it said nothing"
        raise BoardError(f"the answers could not be judged again: {reason}")
    return new


def _keep(new: Path) -> Path:
    kept = Path(settings.HOME) / "rejudged" / f"{hash_file(new)}.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(".partial")
    partial.write_bytes(new.read_bytes())
    partial.replace(kept)
    return kept
