"""What belongs to an attempt that continues from a checkpoint: what the attempts it descends from left before it."""

from pathlib import Path

from django.db.models import Q, QuerySet

from chanote.runs.metrics import Points, append_points, trim_superseded
from chanote.runs.models import Attempt, RolloutFile, Run
from trainer.contract import parse_event
from trainer.contract.events import MetricsLogged


def put_points_in_place(attempt: Attempt, resumed_from: int | None) -> None:
    """Leave the points that led to the checkpoint from which the attempt continues, and no others.

    Mostly that means to drop what came after the checkpoint. When other attempts started in between, they have
    replaced some of the points that led to it: these are read again from the event files.
    """
    checkpoint = attempt.resume_from
    if resumed_from is None or checkpoint is None:
        trim_superseded(attempt.run, attempt.number, after_step=resumed_from)
        return
    later = {"number__gt": checkpoint.attempt.number, "number__lt": attempt.number, "started__isnull": False}
    if not attempt.run.attempts.filter(**later).exists():
        trim_superseded(attempt.run, attempt.number, after_step=resumed_from)
        return
    trim_superseded(attempt.run, attempt.number, after_step=None)
    for ancestor, last_step in ancestors_of(attempt):
        append_points(attempt.run, read_told_points(ancestor, last_step), source=ancestor.number)


def ancestors_of(attempt: Attempt) -> list[tuple[Attempt, int]]:
    """The attempts it descends from, the oldest first, each with the last step that counts."""
    found: list[tuple[Attempt, int]] = []
    checkpoint = attempt.resume_from
    while checkpoint is not None:
        found.append((checkpoint.attempt, checkpoint.step))
        checkpoint = checkpoint.attempt.resume_from
    return found[::-1]


def find_counted(run: Run) -> list[tuple[Attempt, int | None]]:
    """The attempts whose steps count, each with the last of them: the newest that began, of which all steps do, and
    those that led to where it continued."""
    newest = run.attempts.filter(started__isnull=False).select_related("resume_from__attempt").last()
    return [] if newest is None else [(newest, None), *ancestors_of(newest)]


def find_rollout_files(run: Run) -> QuerySet[RolloutFile]:
    """One file for each step, of the attempts that count."""
    counted = Q(pk__in=[])
    for attempt, last_step in find_counted(run):
        counted |= Q(attempt=attempt) if last_step is None else Q(attempt=attempt, step__lte=last_step)
    return RolloutFile.objects.filter(counted).select_related("attempt__run")


def read_told_points(attempt: Attempt, last_step: int) -> dict[str, Points]:
    """The points of an attempt up to a step, from its event file; none when the file is gone."""
    points: dict[str, Points] = {}
    try:
        with (Path(attempt.directory) / "events.jsonl").open("rb") as lines:
            for line in lines:
                if b'"metrics_logged"' not in line or not line.endswith(b"\n"):
                    continue
                told = parse_event(line)
                if isinstance(told.event, MetricsLogged) and told.event.step <= last_step:
                    for key, value in told.event.values.items():
                        points.setdefault(key, Points()).add(told.event.step, float(value), told.at)
    except FileNotFoundError:
        return {}
    return points
