"""From `events.jsonl` to the database, each event exactly once.

One transaction holds the fence, the new byte offset, the events and what they say of the run. What reaches into other
apps (models, boards) may be slow or fail, so it follows in order behind a cursor of its own and is safe to repeat.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from django.db import DatabaseError, OperationalError, transaction
from django.db.models import Max
from django.utils import timezone
from pydantic import ValidationError

from chanote.runs.leases import hold
from chanote.runs.lineage import put_points_in_place
from chanote.runs.metrics import Points, append_points
from chanote.runs.models import Attempt, Checkpoint, RolloutFile, RolloutRow, Run, RunEvent
from trainer.contract import EventLine, RunSpec, parse_event
from trainer.contract import events as told
from trainer.contract.stages.base import TrainingStage

log = structlog.get_logger(__name__)
READ_BYTES = 1 << 18
PLATFORM_SEQ = 1 << 40
"""Events that the platform adds (`attempt_ended`, `ingest_problem`, ...) count from here, apart from the trainer's."""
REACHES_OUT = ("checkpoint_saved", "task_scored", "rollouts_stored", "tool_calls_stored")

WITHOUT_EFFECT = {
    "checkpoint_saved": "the checkpoint became no model",
    "task_scored": "its score was not put on a board",
    "rollouts_stored": "its rollouts are not all in the list",
    "tool_calls_stored": "its tool calls are not all in the log",
}


@dataclass
class Batch:
    """Whole lines of the file as they will be stored."""

    start: int
    end: int
    next_seq: int
    lines: list[EventLine] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def ingest_new_lines(attempt_id: int, fence: int) -> int:
    """Store the next whole lines; the number of bytes taken, 0 when there are none. Raises Superseded, OSError."""
    attempt = Attempt.objects.select_related("run", "resume_from__attempt").get(pk=attempt_id)
    batch = read_batch(attempt)
    if batch is None:
        return 0
    with transaction.atomic():
        expecting = {"ingested_bytes": batch.start}
        hold(attempt_id, fence, expecting=expecting, ingested_bytes=batch.end, next_seq=batch.next_seq)
        store(attempt, batch)
    return batch.end - batch.start


def read_batch(attempt: Attempt) -> Batch | None:
    """The next lines that end in a line feed; a torn last line waits. Lines stored already are passed over."""
    data = read_whole_lines(Path(attempt.directory) / "events.jsonl", attempt.ingested_bytes)
    if not data:
        return None
    batch = Batch(attempt.ingested_bytes, attempt.ingested_bytes + len(data), attempt.next_seq)
    for line in data.splitlines():
        try:
            event = parse_event(line)
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            batch.problems.append(
                f"a line of events.jsonl near byte {batch.start} is no event and was left out: {reason}"
            )
            continue
        if event.seq < batch.next_seq:
            continue
        if event.seq > batch.next_seq:
            batch.problems.append(f"events {batch.next_seq} to {event.seq - 1} are missing from events.jsonl")
        batch.lines.append(event)
        batch.next_seq = event.seq + 1
    return batch


def read_whole_lines(path: Path, start: int) -> bytes:
    """About `READ_BYTES` from `start` up to the last line feed among them; more when one line is longer."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            data = b""
            while block := file.read(READ_BYTES):
                data += block
                if end := data.rfind(b"\n") + 1:
                    return data[:end]
    except FileNotFoundError:
        pass
    return b""


def store(attempt: Attempt, batch: Batch) -> None:
    """Write the events and what they say of the run, inside the caller's transaction."""
    points: dict[str, Points] = {}
    rows = []
    for line in batch.lines:
        event = line.event
        if isinstance(event, told.MetricsLogged):
            for key, value in event.values.items():
                points.setdefault(key, Points()).add(event.step, float(value), line.at)
            continue
        rows.append(
            RunEvent(
                attempt=attempt,
                seq=line.seq,
                at=datetime.fromtimestamp(line.at, UTC),
                type=event.type,
                payload=payload_of(event),
            )
        )
        if isinstance(event, told.AttemptStarted):
            put_points_in_place(attempt, event.resumed_from_step)
        _note_checkpoint(attempt, event)
    _note_rollouts(attempt, [line.event for line in batch.lines if isinstance(line.event, told.RolloutsStored)])
    _note_calls(attempt, [line.event for line in batch.lines if isinstance(line.event, told.ToolCallsStored)])
    RunEvent.objects.bulk_create(rows)
    append_points(attempt.run, points, source=attempt.number)
    _note_progress(attempt, batch.lines)
    for problem in batch.problems:
        add_platform_event(attempt, "ingest_problem", message=problem)


def payload_of(event: Any) -> dict[str, Any]:
    """The event as JSON values. PostgreSQL's JSON cannot hold the character 0, so it becomes U+FFFD."""
    text = event.model_dump_json(exclude={"type"}).replace("\\u0000", "\\ufffd")
    payload: dict[str, Any] = json.loads(text)
    return payload


def add_platform_event(attempt: Attempt, kind: str, **payload: Any) -> RunEvent:
    """Add an event that the platform tells of an attempt. Its payload must hold JSON values."""
    own = RunEvent.objects.filter(attempt=attempt, seq__gte=PLATFORM_SEQ)
    seq = max(own.aggregate(last=Max("seq"))["last"] or 0, PLATFORM_SEQ) + 1
    return RunEvent.objects.create(attempt=attempt, seq=seq, at=timezone.now(), type=kind, payload=payload)


def _note_checkpoint(attempt: Attempt, event: Any) -> None:
    if isinstance(event, told.CheckpointSaved):
        Checkpoint.objects.update_or_create(
            attempt=attempt,
            step=event.step,
            defaults={
                "run": attempt.run,
                "stage": event.stage,
                "directory": str((Path(attempt.directory) / event.path).resolve()),
                "sha256": event.sha256,
                "bytes": event.bytes,
                "stage_finished": event.stage_finished,
                "removed": None,
            },
        )
    elif isinstance(event, told.CheckpointRemoved):
        Checkpoint.objects.filter(attempt=attempt, step=event.step).update(removed=timezone.now())


def _note_rollouts(attempt: Attempt, events: list[told.RolloutsStored]) -> None:
    """Where the rollouts of each step stand. Of a step told twice the later word counts."""
    files = {}
    for event in events:
        mean = None if event.mean_reward is None else float(event.mean_reward)
        files[event.step] = RolloutFile(
            attempt=attempt,
            step=event.step,
            stage=event.stage,
            path=event.path[:500],
            groups=event.groups,
            rollouts=event.rollouts,
            masked=event.masked,
            truncated=event.truncated,
            mean_reward=mean if mean is not None and math.isfinite(mean) else None,
            bytes=event.bytes,
        )
    if files:
        fields = [
            "stage",
            "path",
            "groups",
            "rollouts",
            "masked",
            "truncated",
            "mean_reward",
            "bytes",
            "listed",
            "fault",
        ]
        RolloutFile.objects.bulk_create(
            files.values(), update_conflicts=True, unique_fields=["attempt", "step"], update_fields=fields
        )
        RolloutRow.objects.filter(file__attempt=attempt, file__step__in=files).delete()


def _note_calls(attempt: Attempt, events: list[told.ToolCallsStored]) -> None:
    """Where the tool calls of each step stand."""
    for event in events:
        RolloutFile.objects.filter(attempt=attempt, step=event.step).update(
            calls_path=event.path[:500], calls_listed=False
        )


def _note_progress(attempt: Attempt, lines: list[EventLine]) -> None:
    """Where the run is now, by the newest events."""
    fields: dict[str, Any] = {}
    for event in (line.event for line in lines):
        if isinstance(event, told.AttemptStarted):
            facts = event.model_dump(mode="json", exclude={"type"})
            Attempt.objects.filter(pk=attempt.pk).update(facts=facts)
            fields |= {"step": event.resumed_from_step or 0}
        elif isinstance(event, told.StageStarted):
            fields |= {"stage": event.stage, "total_steps": count_steps(attempt.run, event)}
        elif isinstance(event, told.MetricsLogged | told.CheckpointSaved | told.RolloutsStored | told.StageFinished):
            fields |= {"step": event.step, "stage": event.stage}
        elif isinstance(event, told.RunFinished):
            fields |= {"step": event.step, "total_steps": event.step}
    if fields:
        Run.objects.filter(pk=attempt.run_id).update(**fields, updated=timezone.now())


def count_steps(run: Run, event: told.StageStarted) -> int:
    """Optimiser steps of the whole run as far as known: those up to this stage's end and what later stages name."""
    before = event.first_step - 1 if event.steps else event.first_step
    stages = spec_of(run.snapshot).recipe.stages[event.stage + 1 :]
    later = sum(stage.steps or 0 for stage in stages if isinstance(stage, TrainingStage))
    return before + event.steps + later


def spec_of(snapshot: dict[str, Any]) -> RunSpec:
    """The run spec within a run's snapshot, which holds more than the trainer needs."""
    return RunSpec.model_validate({name: value for name, value in snapshot.items() if name in RunSpec.model_fields})


def apply_effects(attempt_id: int, fence: int) -> int:
    """Do what the newest events mean for models and boards, in order; how many events were dealt with.

    An effect that fails is told on the run page and tried again when the attempt ends; ingestion goes on.
    """
    attempt = Attempt.objects.select_related("run__project", "run__owner", "run__base").get(pk=attempt_id)
    due = RunEvent.objects.filter(
        attempt=attempt, seq__gte=attempt.effects_seq, seq__lt=PLATFORM_SEQ, type__in=REACHES_OUT
    ).order_by("seq")
    done = 0
    for event in due:
        hold(attempt_id, fence)
        problem = try_effect(attempt, event)
        with transaction.atomic():
            hold(attempt_id, fence, effects_seq=event.seq + 1)
            if problem:
                add_platform_event(attempt, "ingest_problem", message=problem, about=event.seq, solved=False)
        done += 1
    return done


def retry_effects(attempt_id: int) -> int:
    """Try failed effects once more; how many still fail. May also be called after the attempt has ended."""
    attempt = Attempt.objects.select_related("run__project", "run__owner", "run__base").get(pk=attempt_id)
    failing = 0
    for remark in RunEvent.objects.filter(attempt=attempt, type="ingest_problem", payload__solved=False).order_by(
        "seq"
    ):
        event = RunEvent.objects.get(attempt=attempt, seq=remark.payload["about"])
        problem = try_effect(attempt, event)
        failing += bool(problem)
        remark.payload = {**remark.payload, "message": problem or remark.payload["message"], "solved": not problem}
        remark.save(update_fields=["payload"])
    return failing


def try_effect(attempt: Attempt, event: RunEvent) -> str:
    """Do one effect; what went wrong as a sentence, empty when nothing did. Raises when the database is away."""
    effect = _effect_of(attempt, event)
    if effect is None:
        return ""
    try:
        effect()
    except OperationalError:
        raise
    except Exception as error:  # an effect of another app must not stop the run from being told
        log.exception("effect failed", attempt=attempt.pk, seq=event.seq, type=event.type)
        reason = str(error) or type(error).__name__
        kind = (
            ""
            if isinstance(error, ValueError) and not isinstance(error, DatabaseError)
            else type(error).__name__ + ": "
        )
        what = WITHOUT_EFFECT[event.type]
        return f"Step {event.payload['step']}: {what}, because {kind}{reason}"
    return ""


def _effect_of(attempt: Attempt, event: RunEvent) -> Callable[[], object] | None:
    if event.type == "checkpoint_saved" and event.payload["stage_finished"]:
        from chanote.models.services import register_checkpoint

        checkpoint = Checkpoint.objects.filter(attempt=attempt, step=event.payload["step"], model=None).first()
        return None if checkpoint is None else partial(register_checkpoint, checkpoint, actor=attempt.run.owner)
    if event.type == "rollouts_stored":
        from chanote.runs.rollout_index import list_step

        return partial(list_step, attempt, event.payload["step"])
    if event.type == "tool_calls_stored":
        return partial(_take_calls, attempt, event.payload)
    if event.type == "task_scored":
        from chanote.boards.services import record_task_scored

        scored = told.TaskScored.model_validate(event.payload)
        return partial(record_task_scored, attempt=attempt, event=scored)
    return None


def _take_calls(attempt: Attempt, payload: dict[str, Any]) -> None:
    """Into the log of calls, and into the rows of the rollouts that made them."""
    from chanote.runs.rollout_index import note_calls
    from chanote.tools.calls import store_file

    try:
        store_file(attempt, payload["path"])
    finally:
        note_calls(attempt, payload["step"])
