"""Names for models, and the gate that keeps a name from a checkpoint that is worse on its guard suite."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from chanote.accounts.models import Project
from chanote.audit.services import record
from chanote.boards.changes import Kept, check_suite, pair_evaluations
from chanote.boards.models import Alias, Board, Task
from chanote.boards.selectors import BoardContent, read_board
from chanote.boards.services import BoardError
from chanote.boards.statistics.equivalence import Retention
from chanote.models.models import Model
from chanote.web.numbers import read_number
from chanote.web.problems import Problem

BLOCKING = (Retention.LOST, Retention.KEPT_BUT_WORSE)
"""Significantly worse, by however little."""


class AliasKept(BoardError):
    """The name stays where it is; says why, and what each task of the guard suite found."""

    def __init__(self, reason: str, found: Sequence[Kept] = ()) -> None:
        super().__init__(reason)
        self.found = list(found)


@dataclass(frozen=True)
class GateReport:
    """What the gate saw when it let a model pass."""

    against: str
    """Slug of the model that the name pointed at, or of the board's baseline; empty when there was neither."""
    found: list[Kept]


@transaction.atomic
def create_alias(*, project: Project, name: str, guard: Board, actor: Any = None) -> Alias:
    if guard.project != project:
        raise BoardError(f"board {guard} belongs to another project; choose a board of {project}")
    if Alias.objects.filter(project=project, name=name).exists():
        raise BoardError(f"the project already has an alias named {name}; choose another name")
    alias = Alias(project=project, name=name, guard=guard, changed_by=actor)
    alias.full_clean()
    alias.save()
    record("alias.created", alias, actor=actor, guard=guard.slug)
    return alias


def move_alias(alias: Alias, model: Model, *, actor: Any = None) -> GateReport:
    """Point the name at the model, unless the model is significantly worse on any task of the guard board.

    Compared is with the model that the name points at, at first with the board's baseline; Holm over the tasks. Raises
    AliasKept, and records the refusal, also when the model lacks a score that the other has.
    """
    if model.project != alias.project:
        raise BoardError(f"model {model} belongs to another project; choose a model of {alias.project}")
    try:
        with transaction.atomic():
            locked = Alias.objects.select_for_update(of=("self",)).select_related("model", "guard").get(pk=alias.pk)
            report = check_gate(locked, model)
            before = str(locked.model or "")
            locked.model, locked.changed_by = model, actor
            locked.save()
            told = {one.task.reference: one.outcome.value for one in report.found}
            record("alias.moved", locked, actor=actor, model=model.slug, before=before, guard=told)
    except AliasKept as kept:
        record("alias.kept", alias, actor=actor, model=model.slug, reason=str(kept))
        raise
    alias.refresh_from_db()
    return report


def check_gate(alias: Alias, model: Model) -> GateReport:
    """What the guard suite says of the model; raises AliasKept when it may not pass."""
    content = read_board(alias.guard)
    held = hold_suite(alias, model, content)
    old = alias.model.slug if alias.model else content.baseline
    if not old or old == model.slug:
        return GateReport("" if not held else held.against, held.found if held else [])
    set_apart = held.tasks if held and held.against == old else set()
    guarded = [
        task
        for task, found in content.tables.evaluations.items()
        if task not in set_apart and any(e.model.slug == old for e in found)
    ]
    pairs = {task: pair for task, pair in pair_evaluations(content, model.slug, old).items() if task not in set_apart}
    missing = [task.reference for task in guarded if task not in pairs]
    if missing:
        raise AliasKept(
            f"{model} has no score on {', '.join(missing)} of board {alias.guard}, where {old} has one; evaluate it "
            "there first"
        )
    if not pairs and not held:
        raise AliasKept(f"board {alias.guard} holds no score of {old}, so nothing guards {alias}; evaluate it there")
    found = check_suite(pairs, new=model.slug, old=old)
    seen = [*(held.found if held else []), *found]
    unmeasured = [one for one in found if one.check is None]
    if unmeasured:
        raise AliasKept(" ".join(one.sentence for one in unmeasured), seen)
    worse = [one for one in found if one.outcome in BLOCKING]
    if worse:
        raise AliasKept(" ".join(one.sentence for one in worse), seen)
    return GateReport(old, seen)


@dataclass(frozen=True)
class HeldSuite:
    """What the alias's own suite says of a model that passes it."""

    against: str
    tasks: set[Task]
    found: list[Kept]


PASSING = (Retention.KEPT, Retention.KEPT_BUT_WORSE)
"""Surely not worse by the margin or more."""


def hold_suite(alias: Alias, model: Model, content: BoardContent) -> HeldSuite | None:
    """Non-inferiority on every task of the suite, by the margin set for it; None where no suite is set or there is no
    model to hold against. Raises AliasKept for a loss, for what is undecided, and for what is not measured."""
    if not alias.suite:
        return None
    by_name = {task.reference: task for task in content.tables.evaluations}
    scored = {
        name
        for name, task in by_name.items()
        if any(one.model.slug == model.slug for one in content.tables.evaluations[task])
    }
    if missing := [name for name in alias.suite if name not in scored]:
        raise AliasKept(
            f"{model} has no score on {', '.join(missing)} of board {alias.guard}, which the guard suite of {alias} "
            "names; evaluate it there first"
        )
    against = content.baseline if alias.against_base or alias.model is None else alias.model.slug
    if not against and alias.against_base:
        raise AliasKept(
            f"the guard suite of {alias} is held against the base, but board {alias.guard} has no baseline with "
            "scores; set one on the board"
        )
    if not against or against == model.slug:
        return None
    pairs = pair_evaluations(content, model.slug, against)
    if missing := [name for name in alias.suite if by_name[name] not in pairs]:
        raise AliasKept(
            f"{against}, which {model} is held against, has no score on {', '.join(missing)} of board {alias.guard}; "
            "evaluate it there first"
        )
    margins = {by_name[name]: float(margin) for name, margin in alias.suite.items()}
    found = check_suite({task: pairs[task] for task in margins}, new=model.slug, old=against, margins=margins)
    failed = [one for one in found if one.check is None or one.outcome not in PASSING]
    if failed:
        raise AliasKept(
            f"The guard suite asks that {model} is surely not worse than {against} by its margins. "
            + " ".join(one.sentence for one in failed),
            found,
        )
    return HeldSuite(against, set(margins), found)


@transaction.atomic
def set_suite(alias: Alias, suite: Mapping[str, float], *, against_base: bool = False, actor: Any = None) -> Alias:
    """Name the tasks of the guard suite, each with its margin in score units (0.02 for two points); empty for none.

    Raises BoardError for a task that is not the project's, or a margin that is none.
    """
    problems = []
    for name, margin in suite.items():
        task = find_task_of(alias.project, name)
        if task is None:
            problems.append(Problem("suite", f"{name} is no task of the project; name one as slug@number."))
        elif not math.isfinite(margin) or margin <= 0 or (task.higher_is_better and margin >= 1):
            problems.append(
                Problem("suite", f"the margin of {name} is {margin:g}; give a share above 0 and below 1, such as 0.02.")
            )
    if problems:
        raise BoardError(" ".join(one.message for one in problems), problems)
    locked = Alias.objects.select_for_update().get(pk=alias.pk)
    locked.suite, locked.against_base = dict(suite), against_base and bool(suite)
    locked.changed_by = actor
    locked.save()
    record("alias.suite_set", locked, actor=actor, suite=locked.suite, against_base=locked.against_base)
    return locked


def find_task_of(project: Project, reference: str) -> Task | None:
    slug, _, number = reference.partition("@")
    return Task.objects.filter(project=project, slug=slug, number=read_number(number) or 0).first()
