"""What the home page tells: what waits for the person, what runs, what is queued, what came out lately."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import F, QuerySet
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from chanote.accounts.models import Project, User
from chanote.accounts.roles import may
from chanote.boards.models import Board
from chanote.boards.selectors import boards_with_counts
from chanote.datasets.models import Dataset
from chanote.models.models import Model
from chanote.recipes.models import Recipe
from chanote.runs.facts import LOSS, REWARD
from chanote.runs.metrics import read_curve
from chanote.runs.models import MetricSeries, Run, State
from chanote.runs.queue import silence_allowed, waiting_reason, worker_silence
from chanote.runs.table import Row, make_rows, with_relations

LATELY = timedelta(days=14)
"""How far back something that ended badly still waits for its owner."""
ROWS = 8
SPARK_WIDTH, SPARK_HEIGHT = 112, 28


@dataclass(frozen=True)
class Waiting:
    """One thing that wants an act of the person."""

    icon: str
    tint: str
    title: str
    words: str
    at: Any
    url: str
    act: str


@dataclass(frozen=True)
class RunningRow:
    row: Row
    spark: str
    """Path of the loss, or of the reward where there is one, in a box of SPARK_WIDTH by SPARK_HEIGHT; empty below two
    points."""


def describe_home(user: User, projects: Sequence[Project], *, one: Project | None) -> dict[str, Any]:
    """Everything the page shows, in a number of queries that does not grow with the number of runs stored."""
    runs = Run.objects.filter(project__in=projects)
    running = make_rows(
        with_relations(runs.filter(state__in=[State.RUNNING, State.STOPPING]))
        .select_related("project", "revision__recipe", "base", "owner")
        .order_by("started")[:ROWS]
    )
    queued = list(runs.filter(state=State.QUEUED).select_related("project", "owner").order_by("priority")[:ROWS])
    ended = make_rows(
        with_relations(runs.exclude(state__in=[State.QUEUED, State.RUNNING, State.STOPPING]))
        .select_related("project", "revision__recipe", "base", "owner")
        .order_by("-ended")[:ROWS]
    )
    waiting = [*tell_of_workers(queued), *tell_of_runs(runs.filter(owner=user))]
    return {
        "waiting": waiting,
        "running": [RunningRow(row, draw_spark(row.run, LOSS if row.reward is None else REWARD)) for row in running],
        "queued": [(run, waiting_reason(run)) for run in queued],
        "ended": ended,
        "boards": boards_with_counts(Board.objects.filter(project__in=projects, evaluations__isnull=False))
        .select_related("project")
        .order_by(F("last_scored").desc())[:5],
        "summary": summarize(len(running), len(queued), len(waiting)),
        "many": one is None and len(projects) > 1,
        "first_steps": [] if running or queued or ended else list_first_steps(user, one, projects),
    }


def tell_of_workers(queued: Sequence[Run]) -> Iterable[Waiting]:
    silence = worker_silence()
    if queued and (silence is None or silence > silence_allowed()):
        words = waiting_reason(queued[0])
        yield Waiting(
            "warn", "warn", "Queued runs do not start", words, None, find_url("queue", queued[0].project), "Open queue"
        )


def tell_of_runs(own: QuerySet[Run]) -> Iterable[Waiting]:
    """Runs of the person that failed, or stopped with a checkpoint, and were not taken up again."""
    since = timezone.now() - LATELY
    rows = own.filter(state__in=[State.FAILED, State.STOPPED], ended__gte=since).select_related("project")
    for run in rows.order_by("-ended")[:ROWS]:
        url = find_url("run", run.project, run.number)
        at_step = f" at step {run.step:,}" if run.step else ""
        if run.state == State.FAILED:
            words = run.fault or "The run left no sentence on why; its log may tell."
            yield Waiting("failed", "danger", f"{run.name} failed{at_step}", words, run.ended, url, "See why")
        else:
            words = "It ended on request with a checkpoint and can go on from there."
            yield Waiting("stopped", "warn", f"{run.name} stopped{at_step}", words, run.ended, url, "Resume")


def draw_spark(run: Run, key: str = LOSS) -> str:
    """The course of a metric as an SVG path; gaps where it was not a number."""
    series = MetricSeries.objects.filter(run=run, key=key).first()
    if series is None:
        return ""
    curve = read_curve(series, points=60)
    points = [(int(x), float(y)) for x, y in zip(curve.first_P, curve.mean_P, strict=True)]
    finite = [y for _, y in points if math.isfinite(y)]
    if len(finite) < 2:
        return ""
    left, right = points[0][0], points[-1][0]
    low, high = min(finite), max(finite)
    path, pen = "", "M"
    for x, y in points:
        if not math.isfinite(y):
            pen = "M"
            continue
        across = (x - left) / (right - left or 1) * (SPARK_WIDTH - 4) + 2
        down = SPARK_HEIGHT - 3 - (y - low) / (high - low or 1) * (SPARK_HEIGHT - 6)
        path += f"{pen}{across:.1f} {down:.1f}"
        pen = "L"
    return path


def summarize(running: int, queued: int, waiting: int) -> str:
    """`2 runs in progress, none in the queue, one thing waits for you.`"""
    runs = f"{running or 'No'} run{'' if running == 1 else 's'} in progress"
    things = f"{waiting} things wait" if waiting > 1 else "one thing waits" if waiting else "nothing waits"
    return f"{runs}, {queued or 'none'} in the queue, {things} for you."


def list_first_steps(user: User, one: Project | None, projects: Sequence[Project]) -> list[dict[str, Any]]:
    """The three ways to begin, those done already ticked; for the project in view, else the first."""
    project = one or (projects[0] if projects else None)
    if project is None:
        return []
    return [
        {
            "title": "Bring a base model",
            "words": "Register a checkpoint from a directory here, or let a recipe start from random weights.",
            "url": find_url("models", project),
            "act": "Models",
            "done": Model.objects.filter(project=project).exists(),
            "may": may(user, "models.register", project),
        },
        {
            "title": "Import a dataset",
            "words": "JSONL, CSV or Parquet; every import is a version that never changes again.",
            "url": find_url("datasets", project),
            "act": "Datasets",
            "done": Dataset.objects.filter(project=project).exists(),
            "may": may(user, "datasets.change", project),
        },
        {
            "title": "Launch a recipe",
            "words": "Begin with one of the library and change a few lines; the run page shows the loss as it falls.",
            "url": find_url("recipes", project),
            "act": "Recipes",
            "done": Recipe.objects.filter(project=project).exists(),
            "may": may(user, "runs.launch", project),
        },
    ]


def find_url(name: str, project: Project, *rest: Any) -> str:
    try:
        return reverse(name, args=[project.slug, *rest])
    except NoReverseMatch:
        return ""


def count_slots() -> tuple[int, int]:
    """Device slots in use and in all, over every project."""
    taken = Run.objects.filter(state__in=[State.RUNNING, State.STOPPING]).count()
    return taken, settings.DEVICE_SLOTS
