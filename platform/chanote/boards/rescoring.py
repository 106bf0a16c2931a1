"""Answers of an evaluation scored anew by another task, which differs in its judging only. Both evaluations stay.

The trainer judges, in a process of its own: the same metrics and filters as when a model answers.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

from chanote.boards.models import Board, Evaluation, Task
from chanote.boards.services import BoardError, import_evaluation, refuse_without_rights, write_samples
from chanote.datasets.storage import StoreError, version_path
from chanote.errands.models import Errand
from chanote.errands.services import start_errand
from chanote.errands.work import Work, WorkRefused
from chanote.runs.processes import trainer_command, trainer_environment
from trainer.contract import ExitCode, TaskSpec
from trainer.contract.rescoring import find_changed_questions

KIND = "boards.rescore"
LOOK_SECONDS = 0.5
TOLD = 2000
"""Characters of what the process said last that a person is shown."""


def find_objection(evaluation: Evaluation, task: Task) -> str:
    """Why the answers cannot be scored by `task`, in a sentence; empty when they can."""
    if evaluation.imported_from_id is not None:
        return f"{evaluation} was imported from another harness, which judged it; import its file anew."
    if task.dataset_version_id is None:
        return f"{task} is known by imported results only: how it judges is not here."
    if task.pk == evaluation.task_id:
        return f"{task} is what scored these answers already; choose a task with another metric, filter or reference."
    if task.dataset_version.sha256 != evaluation.task.dataset_version.sha256:
        return f"{task} asks other rows than {evaluation.task}; evaluate the model again."
    was, now = (TaskSpec.model_validate(one.definition) for one in (evaluation.task, task))
    return " ".join(find_changed_questions(was, now))


def find_fitting_tasks(evaluation: Evaluation) -> list[Task]:
    """Tasks of the project that the answers can be scored by, the newest first."""
    tasks = Task.objects.filter(project=evaluation.project, dataset_version__isnull=False)
    tasks = tasks.select_related("dataset_version__dataset").exclude(pk=evaluation.task_id).order_by("-pk")
    return [task for task in tasks if not find_objection(evaluation, task)]


def start_rescoring(evaluation: Evaluation, *, task: Task, board: Board | None, actor: Any) -> Errand:
    """An errand that scores the answers by `task` and puts the new evaluation on `board`. Raises BoardError."""
    if task.project != evaluation.project or (board is not None and board.project != evaluation.project):
        raise BoardError("task and board must be of the evaluation's own project")
    if objection := find_objection(evaluation, task):
        raise BoardError(objection)
    refuse_without_rights(task, evaluation.model)
    config = {"evaluation": evaluation.pk, "task": task.pk, "board": board.pk if board else None}
    title = f"Score {evaluation.model} by {task}"
    return start_errand(
        KIND, project=evaluation.project, actor=actor, config=config, title=title, subject=evaluation.model
    )


def rescore(work: Work) -> Evaluation:
    """What the errand does. Begun anew it gives the same evaluation: the same answers judged in the same way."""
    found = Evaluation.objects.select_related("task__dataset_version", "model", "run", "project")
    evaluation = found.filter(project=work.project, pk=work.config["evaluation"]).first()
    task = Task.objects.select_related("dataset_version").filter(project=work.project, pk=work.config["task"]).first()
    board = Board.objects.filter(project=work.project, pk=work.config["board"]).first()
    if evaluation is None or task is None:
        raise WorkRefused("The evaluation or the task is gone.")
    samples = work.directory / "samples.jsonl"
    write_samples(evaluation, samples)
    work.report(0, evaluation.count, "items")
    try:
        rows = version_path(task.dataset_version)
        made = _judge(work, evaluation.task, task, samples, rows)
        result = import_evaluation(
            task=task,
            model=evaluation.model,
            samples_path=made,
            board=board,
            run=evaluation.run,
            step=evaluation.step,
            seconds=evaluation.seconds,
            harness=evaluation.harness,
            actor=work.actor,
        )
    except (BoardError, StoreError, OSError) as error:
        raise WorkRefused(f"{str(error).rstrip('.')}.") from error
    work.report(evaluation.count, evaluation.count, "items")
    return result


def _judge(work: Work, was: Task, now: Task, samples: Path, rows: Path) -> Path:
    folder = work.directory
    for name, task in (("was", was), ("now", now)):
        (folder / f"{name}.json").write_text(json.dumps(task.definition, ensure_ascii=False), "utf-8")
    words = ["--samples", samples, "--was", folder / "was.json", "--task", folder / "now.json", "--data", rows]
    with (folder / "said.log").open("wb") as said:
        process = subprocess.Popen(
            [*trainer_command(), "rescore", *map(str, words), "--out", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            cwd=folder,
            env=trainer_environment(),
        )
        try:
            while not _has_ended(process):
                work.check()
        except BaseException:
            process.kill()
            process.wait()
            raise
    if process.returncode != ExitCode.FINISHED:
        told = (folder / "said.log").read_text(errors="replace")[-TOLD:].strip()
        last = told.splitlines()[-1] if told else f"it ended with code {process.returncode}"
        raise WorkRefused(f"The answers could not be scored: {last.removeprefix('trainer rescore: ')}")
    return folder / "evaluations" / f"{now.definition['task']}.jsonl"


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    try:
        process.wait(LOOK_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True
