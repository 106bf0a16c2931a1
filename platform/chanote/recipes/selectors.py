"""Reads about recipes that join, count or compare."""

import difflib
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db.models import Count, Max, QuerySet

from chanote.accounts.models import Project
from chanote.recipes.checking import Checked
from chanote.recipes.forms.schema_form import title_of
from chanote.recipes.models import Recipe, Revision
from chanote.runs.models import Run, State
from trainer.contract import Recipe as RecipeSpec
from trainer.contract import TrainingStage
from trainer.contract.stages.evaluate import EvaluateStage


def recipes_with_counts(recipes: QuerySet[Recipe]) -> QuerySet[Recipe]:
    """With the number of the newest revision, when it was made, and how many runs used any revision."""
    return recipes.annotate(
        newest=Max("revisions__number"),
        changed=Max("revisions__created"),
        runs=Count("revisions__runs", distinct=True),
    )


def newest_revisions(recipes: list[Recipe]) -> dict[int, Revision]:
    """The newest revision of each recipe by the recipe's key, in one query."""
    found: dict[int, Revision] = {}
    for revision in Revision.objects.filter(recipe__in=recipes).order_by("recipe", "-number"):
        found.setdefault(revision.recipe_id, revision)
    return found


@dataclass(frozen=True)
class StageLine:
    """A stage in a line of the strip."""

    number: int
    kind: str
    title: str
    name: str
    reads: str
    """Datasets, or tasks, that it names."""


def list_stages(spec: RecipeSpec | None) -> list[StageLine]:
    if spec is None:
        return []
    lines = []
    for number, stage in enumerate(spec.stages, start=1):
        kind = str(getattr(stage, "kind", ""))
        reads = ""
        if isinstance(stage, TrainingStage):
            reads = ", ".join(named.source.dataset for named in stage.named_sources() if named.trained)
        elif isinstance(stage, EvaluateStage):
            count = len(stage.tasks)
            reads = stage.tasks[0] if count == 1 else f"{count} tasks"
            reads += f" → {stage.board}" if stage.board else ""
        lines.append(StageLine(number, kind, title_of(kind), stage.name, reads))
    return lines


@dataclass(frozen=True)
class Preview:
    """What a launch would do, as far as it can be known before it."""

    ready: bool
    checked: Checked
    stages: list[StageLine] = field(default_factory=list)
    steps: int = 0
    """Optimiser steps of the stages that say them."""
    open_ended: int = 0
    """Stages given in epochs: their steps are known once the rows are packed."""
    tokens: int = 0
    """Most tokens that the counted steps can train on: steps × batch × sequence length."""
    queue_position: int = 1
    slots: int = 1
    free_slots: int = 0

    @property
    def fixes(self) -> int:
        return len(self.checked.problems)


def preview(checked: Checked) -> Preview:
    """Judge a checked text. The queue is read now and may be another at launch."""
    spec = checked.recipe
    waiting = Run.objects.filter(state=State.QUEUED).count()
    busy = Run.objects.filter(state__in=[State.RUNNING, State.STOPPING]).count()
    training = [stage for stage in spec.stages if isinstance(stage, TrainingStage)] if spec else []
    counted = [stage for stage in training if stage.steps is not None]
    return Preview(
        ready=checked.ready,
        checked=checked,
        stages=list_stages(spec),
        steps=sum(stage.steps or 0 for stage in counted),
        open_ended=len(training) - len(counted),
        tokens=sum((stage.steps or 0) * stage.batch_size * stage.sequence_length for stage in counted),
        queue_position=waiting + 1,
        slots=settings.DEVICE_SLOTS,
        free_slots=max(0, settings.DEVICE_SLOTS - busy),
    )


@dataclass(frozen=True)
class DiffLine:
    text: str
    change: str = ""
    """`add`, `del` or nothing; `skip` stands for lines left out."""


def compare_texts(before: str, after: str, *, context: int = 3) -> list[DiffLine]:
    """Line-by-line difference with a few equal lines around each change."""
    lines: list[DiffLine] = []
    old, new = before.splitlines(), after.splitlines()
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    for number, group in enumerate(matcher.get_grouped_opcodes(context)):
        if number or group[0][3]:
            lines.append(DiffLine("⋯", "skip"))
        for tag, a1, a2, b1, b2 in group:
            if tag == "equal":
                lines += [DiffLine(line) for line in old[a1:a2]]
            else:
                lines += [DiffLine(line, "del") for line in old[a1:a2]]
                lines += [DiffLine(line, "add") for line in new[b1:b2]]
    return lines


def compare_resolved(before: Any, after: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Settings that differ in meaning: path, value before, value after; None where there is none."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = [*before, *(name for name in after if name not in before)]
        inner = [(f"{path}.{name}" if path else name, before.get(name), after.get(name)) for name in names]
    elif isinstance(before, list) and isinstance(after, list):
        length = max(len(before), len(after))
        inner = [
            (f"{path}[{n}]", before[n] if n < len(before) else None, after[n] if n < len(after) else None)
            for n in range(length)
        ]
    else:
        return [] if before == after else [(path, before, after)]
    return [found for one in inner for found in compare_resolved(one[1], one[2], one[0])]


def runs_of(recipe: Recipe) -> QuerySet[Run]:
    return Run.objects.filter(revision__recipe=recipe).select_related("revision", "owner")


def next_free_slug(project: Project, wanted: str) -> str:
    """A name for a copy that no recipe of the project has."""
    taken = set(Recipe.objects.filter(project=project, slug__startswith=wanted).values_list("slug", flat=True))
    number = 2
    while f"{wanted}-{number}" in taken:
        number += 1
    return f"{wanted}-{number}" if wanted in taken else wanted
