"""Who may write for an errand: each a conditional UPDATE, so that of many processes one wins."""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from chanote.errands.models import Errand, State
from chanote.runs.leases import lock_queue, this_host

START_SECONDS = 15
"""Time that a process may take until it renews its first lease."""


class Superseded(Exception):
    """Another process works on the errand now, or it has ended: nothing may be written for it any more."""


def claim(errand_id: int | None = None) -> Errand | None:
    """Take the oldest errand that waits, or the named one; None when there is none or no slot is free."""
    now = timezone.now()
    if not Errand.objects.filter(state=State.QUEUED).exists():
        return None
    with transaction.atomic():
        lock_queue()
        if Errand.objects.filter(state=State.RUNNING).count() >= settings.ERRAND_SLOTS:
            return None
        waiting = Errand.objects.filter(state=State.QUEUED)
        found = (waiting.filter(pk=errand_id) if errand_id is not None else waiting).order_by("pk").first()
        if found is None:
            return None
        taken = waiting.filter(pk=found.pk).update(
            state=State.RUNNING,
            fence=F("fence") + 1,
            lease_until=now + timedelta(seconds=settings.LEASE_SECONDS + START_SECONDS),
            host=this_host(),
            pid=None,
            pid_started=None,
            started=found.started or now,
            ended=None,
        )
        return Errand.objects.select_related("project", "created_by").get(pk=found.pk) if taken else None


def claim_expired(errand: Errand) -> Errand | None:
    """Take over an errand whose process fell silent; None when it is not silent any more."""
    now = timezone.now()
    taken = Errand.objects.filter(pk=errand.pk, fence=errand.fence, state=State.RUNNING, lease_until__lt=now).update(
        fence=F("fence") + 1,
        lease_until=now + timedelta(seconds=settings.LEASE_SECONDS + START_SECONDS),
        host=this_host(),
        pid=None,
        pid_started=None,
    )
    return Errand.objects.select_related("project", "created_by").get(pk=errand.pk) if taken else None


def hold(errand_id: int, fence: int, **fields: object) -> bool:
    """Renew the lease and write fields, if the fence still holds; raises Superseded otherwise. Whether to stop."""
    held = Errand.objects.filter(pk=errand_id, fence=fence, state=State.RUNNING)
    lease_until = timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)
    if not held.update(lease_until=lease_until, **fields):
        raise Superseded(f"errand {errand_id} is not held by fence {fence} any more")
    return bool(Errand.objects.filter(pk=errand_id, stop_asked=True).exists())
