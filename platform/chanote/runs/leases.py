"""Who may write for an attempt: claims, fences and leases. Each is one conditional UPDATE, so that of many one wins."""

import socket
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Exists, F, IntegerField, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from chanote.audit.services import record
from chanote.runs.models import ACTIVE, Attempt, Run, State

HOLDS_SLOT = (State.RUNNING, State.STOPPING)
START_SECONDS = 15
"""Time that a supervisor may take until it renews its first lease."""
QUEUE_LOCK = 0x63_68_61_6E
"""Number of the lock under which PostgreSQL lets one claim look at the queue at a time."""


class Superseded(Exception):
    """Somebody else holds the attempt now, or it has ended: nothing may be written for it any more."""


def this_host() -> str:
    return socket.gethostname()[:120]


def claim(attempt_id: int) -> int | None:
    """Take a queued attempt: the new fence, or None when it is not its turn or another has taken it."""
    now = timezone.now()
    with transaction.atomic():
        lock_queue()
        ahead = Attempt.objects.filter(state=State.QUEUED).filter(
            Q(run__priority__lt=OuterRef("run__priority"))
            | Q(run__priority=OuterRef("run__priority"), pk__lt=OuterRef("pk"))
        )
        claimed = (
            Attempt.objects.annotate(slots_taken=count_taken_slots())
            .filter(~Exists(ahead), pk=attempt_id, state=State.QUEUED, slots_taken__lt=settings.DEVICE_SLOTS)
            .update(
                state=State.RUNNING,
                fence=F("fence") + 1,
                lease_until=lease_end(now, START_SECONDS),
                heartbeat=now,
                worker=this_host(),
                started=now,
            )
        )
        if not claimed:
            return None
        attempt = Attempt.objects.select_related("run").get(pk=attempt_id)
        Run.objects.filter(pk=attempt.run_id).update(
            state=State.RUNNING, started=attempt.run.started or now, ended=None, fault="", updated=now
        )
        record("run.started", attempt.run, attempt=attempt.number, worker=attempt.worker)
        return attempt.fence


def claim_expired(attempt: Attempt) -> int | None:
    """Take over an attempt whose supervisor fell silent: the new fence, or None when it is not silent any more."""
    now = timezone.now()
    taken = Attempt.objects.filter(
        pk=attempt.pk, fence=attempt.fence, state__in=HOLDS_SLOT, lease_until__lt=now
    ).update(fence=F("fence") + 1, lease_until=lease_end(now, START_SECONDS), worker=this_host())
    return attempt.fence + 1 if taken else None


def hold(attempt_id: int, fence: int, *, expecting: Mapping[str, object] | None = None, **fields: object) -> None:
    """Renew the lease and write fields of the attempt, if the fence still holds; raises Superseded otherwise.

    Called first in a transaction it keeps every later write of that transaction under the same fence. `expecting`
    names further fields and the values they must have.
    """
    now = timezone.now()
    held = Attempt.objects.filter(pk=attempt_id, fence=fence, state__in=ACTIVE, **(expecting or {})).update(
        lease_until=lease_end(now), heartbeat=now, **fields
    )
    if not held:
        raise Superseded(f"attempt {attempt_id} is not held by fence {fence} any more")


def lease_end(now: datetime, extra_seconds: float = 0) -> datetime:
    return now + timedelta(seconds=settings.LEASE_SECONDS + extra_seconds)


def count_taken_slots() -> Coalesce:
    """Number of attempts that hold a device slot, as an expression."""
    taken = Attempt.objects.filter(state__in=HOLDS_SLOT).order_by().values(one=F("pk") * 0)
    return Coalesce(Subquery(taken.annotate(taken=Count("pk")).values("taken"), output_field=IntegerField()), 0)


def lock_queue() -> None:
    """One claim at a time. SQLite's IMMEDIATE transactions already come one by one."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [QUEUE_LOCK])
