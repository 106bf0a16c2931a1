"""Every write about errands that a person or another app asks for."""

from typing import Any

from django.db import transaction
from django.db.models import Model
from django.utils import timezone

from chanote.accounts.models import Project
from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.errands.kinds import find_kind
from chanote.errands.launching import nudge
from chanote.errands.models import Errand, State


class ErrandRefused(Exception):
    """What was asked does not fit the errand's state; the message is a sentence."""


def start_errand(
    kind: str,
    *,
    project: Project,
    actor: Any,
    config: dict[str, Any],
    title: str,
    subject: Model | None = None,
) -> Errand:
    """Queue long work. An `actor` of None is the platform itself."""
    permission = find_kind(kind).permission
    if actor is not None:
        require(actor, permission, project)
    with transaction.atomic():
        errand = Errand.objects.create(
            project=project,
            kind=kind,
            title=title[:200],
            config=config,
            subject_kind=subject._meta.model_name or "" if subject else "",
            subject_id=str(subject.pk) if subject else "",
            created_by=actor,
        )
        record("errand.started", errand, actor=actor, kind=kind)
        transaction.on_commit(nudge)
    return errand


def stop_errand(errand: Errand, *, actor: Any) -> None:
    """Stop an errand; what it has done stays, and it can be resumed. One that waits stops at once."""
    if actor is not None:
        require(actor, find_kind(errand.kind).permission, errand.project)
    with transaction.atomic():
        waiting = Errand.objects.filter(pk=errand.pk, state=State.QUEUED)
        if not waiting.update(state=State.STOPPED, ended=timezone.now()):
            running = Errand.objects.filter(pk=errand.pk, state=State.RUNNING)
            if not running.update(stop_asked=True):
                raise ErrandRefused(f"“{errand.title}” has ended already; there is nothing to stop.")
        record("errand.stop_asked", errand, actor=actor)


def resume_errand(errand: Errand, *, actor: Any) -> None:
    """Queue a stopped or failed errand again; it goes on in its own directory."""
    if actor is not None:
        require(actor, find_kind(errand.kind).permission, errand.project)
    with transaction.atomic():
        ended = Errand.objects.filter(pk=errand.pk, state__in=(State.STOPPED, State.FAILED))
        if not ended.update(state=State.QUEUED, stop_asked=False, fault="", ended=None):
            raise ErrandRefused(f"“{errand.title}” is {errand.state}; only a stopped or failed errand can go on.")
        record("errand.resumed", errand, actor=actor)
        transaction.on_commit(nudge)
