"""Rows of runs for tests of pages, written as launching and ingest would leave them."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from chanote.models.models import Model
from chanote.recipes.models import Recipe, Revision
from chanote.runs.metrics import Points, append_points
from chanote.runs.models import Attempt, Checkpoint, Run, RunEvent

STAGES = [
    {
        "kind": "cpt",
        "name": "read-laws",
        "data": [{"dataset": "laws@3", "weight": 1.0}],
        "steps": 50,
        "optimizer": {"learning_rate": 0.0001},
    },
    {"kind": "sft", "name": "answer", "data": [{"dataset": "questions@1", "weight": 1.0}], "steps": 50},
    {"kind": "evaluate", "name": "", "tasks": ["law-mc@1"], "board": "law"},
]


def make_run(project: Any, *, number: int = 1, state: str = "running", step: int = 0, **fields: Any) -> Run:
    """A run of 100 steps with one attempt."""
    recipe, _ = Recipe.objects.get_or_create(project=project, slug="law-sft", defaults={"title": "Law"})
    revision, _ = Revision.objects.get_or_create(
        recipe=recipe, number=1, defaults={"yaml": "", "resolved": {}, "sha256": "a" * 64}
    )
    base, _ = Model.objects.get_or_create(
        project=project, slug="base-model", defaults={"origin": "directory", "location": "x", "sha256": "b" * 64}
    )
    now = timezone.now()
    ended = now if state in {"finished", "failed", "stopped", "cancelled"} else None
    fields.setdefault("name", f"law-{number}")
    fields.setdefault("snapshot", {"run": "x", "recipe": {"base": "base-model", "stages": STAGES}})
    run = Run.objects.create(
        project=project,
        number=number,
        revision=revision,
        base=base,
        state=state,
        step=step,
        total_steps=fields.pop("total_steps", 100),
        priority=fields.pop("priority", number),
        started=None if state == "queued" else now - timedelta(minutes=10),
        ended=ended,
        **fields,
    )
    add_attempt(run)
    return run


def add_attempt(run: Run, *, number: int = 1, directory: Path | None = None, **fields: Any) -> Attempt:
    return Attempt.objects.create(
        run=run,
        number=number,
        state=fields.pop("state", run.state),
        directory=str(directory or "/nowhere"),
        started=run.started,
        ended=run.ended,
        **fields,
    )


def log_values(run: Run, values: dict[str, list[float]], *, first_step: int = 1) -> None:
    """Add values at consecutive steps to series of the run."""
    points = {}
    for key, series in values.items():
        points[key] = Points()
        for step, value in enumerate(series, start=first_step):
            points[key].add(step, value, 1_700_000_000.0 + step)
    with transaction.atomic():
        append_points(run, points, source=1)


def tell(run: Run, kind: str, /, **payload: Any) -> RunEvent:
    attempt = run.attempts.last()
    assert attempt is not None
    seq = attempt.events.count()
    return RunEvent.objects.create(attempt=attempt, seq=seq, at=timezone.now(), type=kind, payload=payload)


def save_checkpoint(run: Run, step: int, directory: Path | str = "/nowhere") -> Checkpoint:
    attempt = run.attempts.last()
    return Checkpoint.objects.create(
        run=run, attempt=attempt, step=step, stage=0, directory=str(directory), sha256="c" * 64, bytes=1_240_000
    )
