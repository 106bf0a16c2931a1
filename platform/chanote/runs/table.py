"""The table of runs: what the address asks for, and rows with all they show, in a fixed number of queries."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Case, F, FloatField, Max, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Cast
from django.http import QueryDict

from chanote.boards.models import Evaluation
from chanote.runs.facts import (
    LOSS,
    REWARD,
    SECONDS_PER_STEP,
    list_datasets,
    name_base,
    name_method,
    time_left,
    time_spent,
)
from chanote.runs.models import MetricSeries, Run, State
from chanote.web.numbers import read_number

PER_PAGE = 50
SORTS = {
    "number": ("number", "Newest"),
    "name": ("name", "Run"),
    "state": ("state", "State"),
    "base": ("base__slug", "Base"),
    "loss": ("loss", "Loss, reward"),
    "progress": ("progress", "Progress"),
    "owner": ("owner__username", "Owner"),
    "started": ("started", "Started"),
}
"""Name in the address → column in the database and heading."""


@dataclass(frozen=True)
class Wish:
    """Filters and order that the address asks for; anything unknown is left out."""

    words: str = ""
    states: tuple[str, ...] = ()
    sort: str = "number"
    descending: bool = True

    @property
    def is_filtered(self) -> bool:
        return bool(self.words or self.states)


def read_wish(query: QueryDict) -> Wish:
    states = tuple(state for state in State.values if state in query.getlist("state"))
    asked = query.get("sort", "")
    name = asked.removeprefix("-")
    if name not in SORTS:
        return Wish(query.get("q", "").strip()[:200], states)
    return Wish(query.get("q", "").strip()[:200], states, name, asked.startswith("-"))


def find_runs(runs: QuerySet[Run], wish: Wish) -> QuerySet[Run]:
    """The runs that the wish names, in its order; empty values last."""
    if wish.states:
        runs = runs.filter(state__in=wish.states)
    for word in wish.words.split():
        match = Q(name__icontains=word) | Q(revision__recipe__slug__icontains=word) | Q(base__slug__icontains=word)
        match |= Q(owner__username__icontains=word)
        if (number := read_number(word.lstrip("#"))) is not None:
            match |= Q(number=number)
        runs = runs.filter(match)
    if wish.sort == "loss":
        latest = MetricSeries.objects.filter(run=OuterRef("pk"), key=LOSS).values("last_value")[:1]
        runs = runs.annotate(loss=Subquery(latest, output_field=FloatField()))
    if wish.sort == "progress":
        share = Cast(F("step"), FloatField()) / Cast(F("total_steps"), FloatField())
        runs = runs.annotate(progress=Case(When(total_steps__gt=0, then=share), default=Value(0.0)))
    column = F(SORTS[wish.sort][0])
    order = column.desc(nulls_last=True) if wish.descending else column.asc(nulls_last=True)
    return runs.order_by(order, "-number")


@dataclass
class Row:
    run: Run
    method: str
    base: str
    datasets: list[str]
    seconds: float
    loss: float | None = None
    held_out: float | None = None
    reward: float | None = None
    """Mean of the latest step that sampled for rewards; the loss of such a stage says little."""
    left: float | None = None
    scores: list[Evaluation] = field(default_factory=list)
    """Evaluations of the latest step that was scored, by task."""

    @property
    def percent(self) -> int:
        """Whole percent done, 100 only when every step is."""
        return math.floor(100 * self.run.step / self.run.total_steps) if self.run.total_steps else 0


def make_rows(runs: Iterable[Run]) -> list[Row]:
    """Rows of these runs: three queries however many there are. `runs` must come from `with_relations`."""
    runs = list(runs)
    rows = [
        Row(
            run=run,
            method=name_method(run, only_training=True),
            base=name_base(run),
            datasets=list_datasets(run),
            seconds=time_spent(run.attempts.all()),
        )
        for run in runs
    ]
    by_run: dict[Any, dict[str, float | None]] = defaultdict(dict)
    wanted = Q(key__in=[LOSS, REWARD, SECONDS_PER_STEP]) | Q(key__startswith="held_out/", key__endswith="/loss")
    ids = [run.pk for run in runs]
    for pk, key, value in MetricSeries.objects.filter(wanted, run__in=ids).values_list("run", "key", "last_value"):
        by_run[pk][key] = value
    scores = _latest_scores(ids)
    for row in rows:
        values = by_run[row.run.pk]
        row.loss = values.get(LOSS)
        row.held_out = next((value for key, value in sorted(values.items()) if key.startswith("held_out/")), None)
        row.reward = values.get(REWARD)
        row.left = time_left(row.run, values.get(SECONDS_PER_STEP))
        row.scores = scores.get(row.run.pk, [])
    return rows


def with_relations(runs: QuerySet[Run]) -> QuerySet[Run]:
    """What a row reads beside the run itself."""
    return runs.select_related("revision__recipe", "base", "owner", "project").prefetch_related("attempts")


def _latest_scores(ids: list[Any]) -> dict[Any, list[Evaluation]]:
    """By run, the evaluations of its last scored step; the task frozen first leads, as on boards."""
    found: dict[Any, list[Evaluation]] = defaultdict(list)
    newest = Evaluation.objects.filter(run=OuterRef("run")).order_by().values("run").annotate(last=Max("step"))
    evaluations = (
        Evaluation.objects.filter(run__in=ids, mean__isnull=False)
        .filter(Q(step=Subquery(newest.values("last")[:1])) | Q(step__isnull=True))
        .select_related("task")
        .order_by("task_id", "-id")
    )
    for evaluation in evaluations:
        found[evaluation.run_id].append(evaluation)
    return found


COLUMNS = (
    "number", "name", "state", "recipe", "revision", "method", "base", "datasets", "loss", "held_out_loss", "score",
    "score_task", "score_items", "step", "total_steps", "seconds", "owner", "started", "ended", "reward",
)  # fmt: skip
"""Names of the exported columns."""


def export_rows(rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """Rows as plain values, unrounded, one key for each of COLUMNS; times as ISO 8601."""
    for row in rows:
        run, score = row.run, row.scores[0] if row.scores else None
        values = (
            run.number, run.name, run.state, run.revision.recipe.slug, run.revision.number, row.method, row.base,
            row.datasets, row.loss, row.held_out, score.mean if score else None,
            score.task.reference if score else None, score.count if score else None, run.step, run.total_steps,
            round(row.seconds, 3), run.owner.username if run.owner else None,
            run.started.isoformat() if run.started else None, run.ended.isoformat() if run.ended else None,
            row.reward,
        )  # fmt: skip
        yield dict(zip(COLUMNS, values, strict=True))
