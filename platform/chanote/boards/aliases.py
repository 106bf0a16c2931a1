"""Names for models, and the gate that keeps a name from a checkpoint that is worse on its guard suite."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from chanote.accounts.models import Project
from chanote.audit.services import record
from chanote.boards.changes import Kept, check_suite, pair_evaluations
from chanote.boards.models import Alias, Board
from chanote.boards.selectors import read_board
from chanote.boards.services import BoardError
from chanote.boards.statistics.equivalence import Retention
from chanote.models.models import Model

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
    old = alias.model.slug if alias.model else content.baseline
    if not old or old == model.slug:
        return GateReport("", [])
    guarded = [task for task, found in content.tables.evaluations.items() if any(e.model.slug == old for e in found)]
    pairs = pair_evaluations(content, model.slug, old)
    missing = [task.reference for task in guarded if task not in pairs]
    if missing:
        raise AliasKept(
            f"{model} has no score on {', '.join(missing)} of board {alias.guard}, where {old} has one; evaluate it "
            "there first"
        )
    if not pairs:
        raise AliasKept(f"board {alias.guard} holds no score of {old}, so nothing guards {alias}; evaluate it there")
    found = check_suite(pairs, new=model.slug, old=old)
    unmeasured = [one for one in found if one.check is None]
    if unmeasured:
        raise AliasKept(" ".join(one.sentence for one in unmeasured), found)
    worse = [one for one in found if one.outcome in BLOCKING]
    if worse:
        raise AliasKept(" ".join(one.sentence for one in worse), found)
    return GateReport(old, found)
