"""Every write about tasks, boards and evaluations."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import Max
from pydantic import ValidationError

from chanote import __version__
from chanote.accounts.models import Project
from chanote.audit.services import record
from chanote.boards.episodes import describe_episodes
from chanote.boards.models import Board, Evaluation, Sample, Task
from chanote.boards.scores import Answer, keep_scores, sort_answers
from chanote.datasets.models import DatasetVersion, Use
from chanote.models.errors import ModelRefused
from chanote.models.models import Model, Origin
from chanote.models.services import free_slug, name_policy, register_checkpoint
from chanote.models.teachers import inherit_licence
from chanote.rights.rules import judge_model, judge_version
from chanote.runs.models import Attempt, Run
from chanote.web.problems import Problem
from trainer.contract import TaskSpec
from trainer.contract.episodes import ScoredEpisode
from trainer.contract.events import ScoredSample, TaskScored

BATCH = 500


class BoardError(ValueError):
    """What was asked for cannot be written; one sentence that says why and what to do."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = list(problems)


def hash_task(definition: TaskSpec, rows_sha256: str) -> str:
    """Hash of all that a score depends on besides the model: how items are asked and judged, and the rows.

    Name, title and the dataset's name are left out: they change no score.
    """
    content = definition.model_dump(mode="json", exclude={"task", "title", "dataset", *definition.idle_fields})
    if definition.judging is not None:
        judging = definition.judging
        content["judging"] = judging.identify_question() | judging.identify_judge(definition.metric)
    return hash_content({**content, "rows": rows_sha256})


def hash_settings(definition: TaskSpec, harness: str, toolset: dict[str, Any] | None = None) -> str:
    """Hash of the decoding settings and the program that applied them; of an agent, of its tools too."""
    content = definition.model_dump(mode="json", include={"generation_kwargs", "chat", "num_fewshot"})
    if definition.uses_tools and toolset is not None:
        content["toolset"] = {name: value for name, value in toolset.items() if name != "address"}
    return hash_content({**content, "harness": harness})


@transaction.atomic
def freeze_task(*, project: Project, definition: TaskSpec, dataset_version: DatasetVersion, actor: Any = None) -> Task:
    """The project's task with this definition on these rows; a changed definition becomes the next number."""
    if dataset_version.project != project:
        raise BoardError(f"dataset {dataset_version} belongs to another project; import it into {project} first")
    sha256 = hash_task(definition, dataset_version.sha256)
    same_name = Task.objects.filter(project=project, slug=definition.task)
    # A copy of the title keeps the frozen row readable; it is no part of the hash.
    known = same_name.filter(sha256=sha256, dataset_version=dataset_version).first()
    if known is not None:
        return known
    if refusals := judge_version(dataset_version, Use.EVALUATE, field="dataset").refusals:
        raise BoardError(" ".join(refusal.message for refusal in refusals), refusals)
    task = Task.objects.create(
        project=project,
        slug=definition.task,
        number=(same_name.aggregate(last=Max("number"))["last"] or 0) + 1,
        title=definition.title,
        definition=definition.model_copy(update={"dataset": dataset_version.reference}).model_dump(mode="json"),
        sha256=sha256,
        dataset_version=dataset_version,
        created_by=actor,
    )
    record("task.frozen", task, actor=actor, sha256=sha256)
    return task


@transaction.atomic
def create_board(*, project: Project, slug: str, title: str = "", question: str = "", actor: Any = None) -> Board:
    if Board.objects.filter(project=project, slug=slug).exists():
        raise BoardError(f"the project already has a board named {slug}; choose another name")
    board = Board(project=project, slug=slug, title=title or slug, question=question, created_by=actor)
    board.full_clean()
    board.save()
    record("board.created", board, actor=actor)
    return board


@transaction.atomic
def update_board(board: Board, *, title: str, question: str, baseline: Model | None, actor: Any = None) -> Board:
    if baseline is not None and baseline.project != board.project:
        raise BoardError(f"{baseline} belongs to another project; choose a model of {board.project}")
    board.title, board.question, board.baseline = title, question, baseline
    board.full_clean()
    board.save()
    record("board.changed", board, actor=actor, baseline=str(baseline or ""))
    return board


@transaction.atomic
def import_evaluation(
    *,
    task: Task,
    model: Model,
    samples_path: Path,
    board: Board | None = None,
    run: Run | None = None,
    step: int | None = None,
    seconds: float = 0.0,
    harness: str = f"chanote {__version__}",
    toolset: dict[str, Any] | None = None,
    actor: Any = None,
) -> Evaluation:
    """Store a samples file as an evaluation, whole or not at all; the same file again gives the same evaluation.
    `toolset`: what an agent answered with, where that is not the run's.

    Raises BoardError naming the line that is no sample, or an item that stands twice.
    """
    if model.project != task.project:
        raise BoardError(f"model {model} and task {task} belong to different projects")
    if run is None:
        # What a run scored was allowed when it was launched, and its scores are kept.
        refuse_without_rights(task, model)
    # Serialises imports of one task, so that the same file cannot be stored twice at once.
    Task.objects.select_for_update().get(pk=task.pk)
    samples_sha256 = _hash_file(samples_path)
    evaluation = Evaluation.objects.filter(
        task=task, model=model, run=run, step=step, samples_sha256=samples_sha256
    ).first()
    if evaluation is None:
        definition = TaskSpec.model_validate(task.definition)
        toolset = toolset or (run.snapshot.get("toolset") if run else None)
        evaluation = Evaluation.objects.create(
            project=task.project,
            task=task,
            model=model,
            run=run,
            step=step,
            settings_sha256=hash_settings(definition, harness, toolset),
            harness=harness,
            samples_sha256=samples_sha256,
            samples_path=str(samples_path),
            seconds=seconds,
            count=0,
        )
        _store_samples(evaluation, samples_path, toolset=str((toolset or {}).get("name", "")))
        record("evaluation.imported", evaluation, actor=actor, samples_sha256=samples_sha256)
    if board is not None and not evaluation.boards.filter(pk=board.pk).exists():
        evaluation.boards.add(board)
        record("board.evaluation_added", board, actor=actor, evaluation=evaluation.pk, model=model.slug)
    return evaluation


def refuse_without_rights(task: Task, model: Model) -> None:
    """Raises BoardError where licence or consent do not let the model be evaluated on the task's rows."""
    judgement = judge_model(model, Use.EVALUATE, field="model")
    if task.dataset_version_id is not None:
        judgement += judge_version(task.dataset_version, Use.EVALUATE, field="task")
    if judgement.refusals:
        raise BoardError(" ".join(one.message for one in judgement.refusals), judgement.refusals)


@transaction.atomic
def record_task_scored(*, attempt: Attempt, event: TaskScored) -> Evaluation:
    """What the ingest of events calls for `task_scored`: idempotent, creates task and board when they are new.

    The scores of a reproduction stay with its run.
    """
    run = attempt.run
    task = find_task_of_run(run, event.task)
    board = None
    if event.board and "reproduces" not in run.snapshot:
        board, created = Board.objects.get_or_create(
            project=run.project,
            slug=event.board,
            defaults={"title": event.board, "created_by": run.owner, "baseline": run.base},
        )
        if created:
            record("board.created", board, actor=run.owner, run=str(run.pk))
    return import_evaluation(
        task=task,
        model=find_scored_model(attempt, event),
        samples_path=Path(attempt.directory) / event.samples_path,
        board=board,
        run=run,
        step=event.step,
        seconds=event.seconds,
    )


def find_task_of_run(run: Run, name: str) -> Task:
    """The task as the run froze it. Raises BoardError when the snapshot does not hold it."""
    try:
        definition = TaskSpec.model_validate(run.snapshot["tasks"][name])
    except KeyError as error:
        raise BoardError(f"run {run} scored task {name}, which its frozen spec does not name") from error
    rows_sha256 = run.snapshot["datasets"][definition.dataset]["sha256"]
    versions = DatasetVersion.objects.filter(dataset__project=run.project, sha256=rows_sha256)
    slug = definition.dataset.partition("@")[0]
    version = versions.filter(dataset__slug=slug).first() or versions.first()
    if version is None:
        raise BoardError(f"run {run} scored task {name} on rows that the project does not hold any more")
    return freeze_task(project=run.project, definition=definition, dataset_version=version, actor=run.owner)


def find_scored_model(attempt: Attempt, event: TaskScored) -> Model:
    """The model that was scored: the run's base, or the checkpoint as a model of the project."""
    run = attempt.run
    if not event.checkpoint_path and run.base is not None:
        return run.base
    # A resumed attempt scores a checkpoint that an earlier one wrote.
    checkpoint = run.checkpoints.filter(sha256=event.model_sha256).order_by("-pk").first()
    if checkpoint is not None:
        try:
            return register_checkpoint(checkpoint, actor=run.owner)
        except ModelRefused:
            # Its files were pruned before its score was read; the score still belongs to a model.
            return _register_without_files(attempt, event, bytes_=checkpoint.bytes)
    return _register_without_files(attempt, event, bytes_=0)


def _register_without_files(attempt: Attempt, event: TaskScored, *, bytes_: int) -> Model:
    run, base = attempt.run, attempt.run.base
    known = Model.objects.filter(project=run.project, sha256=event.model_sha256).first()
    if known is not None:
        return known
    # What training does not change.
    names = ("parameters", "context_length", "vocabulary", "architecture")
    model = Model.objects.create(
        project=run.project,
        slug=free_slug(run.project, f"{name_policy(run)}-step-{event.step}"),
        title=f"{run.name}, step {event.step:,}",
        origin=Origin.RUN,
        location=str(Path(attempt.directory) / event.checkpoint_path),
        sha256=event.model_sha256,
        bytes=bytes_,
        parent=base,
        licence=inherit_licence(run, last_stage=event.stage),
        created_by=run.owner,
        **({name: getattr(base, name) for name in names} if base else {}),
    )
    record("model.registered", model, actor=run.owner, run=str(run.pk))
    return model


def _store_samples(evaluation: Evaluation, path: Path, *, toolset: str) -> None:
    seen: set[str] = set()
    batch: list[Sample] = []
    episodes: list[tuple[str, ScoredEpisode]] = []
    answers: list[Answer] = []
    total, scored, failed, left_out = 0.0, 0, 0, 0
    for number, sample in enumerate(read_samples(path), start=1):
        if sample.item in seen:
            raise BoardError(f"{path.name}, line {number}: item {sample.item} stands twice")
        seen.add(sample.item)
        answers.append((sample.item, sample.cluster, sample.score, sample.status))
        total += sample.score or 0.0
        scored += sample.score is not None
        left_out += sample.status == "left_out"
        failed += sample.status not in ("ok", "left_out")
        if sample.episode is not None and sample.status != "left_out":
            # What was said stays in the database; here the numbers are enough.
            episodes.append((sample.cluster, sample.episode.model_copy(update={"conversation": []})))
        batch.append(Sample(evaluation=evaluation, **sample.model_dump()))
        if len(batch) == BATCH:
            Sample.objects.bulk_create(batch)
            batch = []
    Sample.objects.bulk_create(batch)
    if not seen:
        raise BoardError(f"{path.name} holds no sample; an evaluation needs at least one")
    evaluation.count, evaluation.failed, evaluation.left_out = len(seen) - left_out, failed, left_out
    # Where less is better, an item without a score cannot count as 0: that would be the best score.
    counted = evaluation.count if evaluation.task.higher_is_better else scored
    evaluation.mean = total / counted if counted else None
    evaluation.episodes = describe_episodes(episodes, toolset=toolset)
    keep_scores(evaluation, sort_answers(answers))
    evaluation.save(update_fields=["count", "failed", "left_out", "mean", "episodes", "item_set", "scores"])


def write_samples(evaluation: Evaluation, path: Path) -> None:
    """The stored answers as a samples file, in their order."""
    with path.open("w", encoding="utf-8") as file:
        for sample in Sample.objects.filter(evaluation=evaluation).order_by("id").iterator(chunk_size=500):
            fields = {name: getattr(sample, name) for name in ScoredSample.model_fields}
            file.write(ScoredSample.model_validate(fields).model_dump_json() + "\n")


def read_samples(path: Path) -> Iterator[ScoredSample]:
    """Samples of a file, one by one; raises BoardError naming the line that is none."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    yield ScoredSample.model_validate_json(line)
                except ValidationError as error:
                    fault = error.errors()[0]
                    where = ".".join(str(part) for part in fault["loc"]) or "the line"
                    raise BoardError(f"{path.name}, line {number}: {where}: {fault['msg']}") from error
    except OSError as error:
        raise BoardError(f"the samples file {path.name} cannot be read: {error.strerror}") from error


def _hash_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BoardError(f"the samples file {path.name} cannot be read: {error.strerror}") from error


def hash_content(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
