"""What makes lost messages and dead processes harmless: looked after every few seconds by every worker."""

import time
from datetime import timedelta
from pathlib import Path

import structlog
from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from chanote.errands import launching as errands
from chanote.runs.launching import reap_supervisors, send_message, start_supervisor, start_what_waits
from chanote.runs.leases import HOLDS_SLOT, claim_expired, this_host
from chanote.runs.models import Attempt, OutboxMessage, State

log = structlog.get_logger(__name__)
FOREIGN_LEASES = 10
"""Leases after which an attempt of another machine is taken over: only its own machine can see its trainer."""
PROCESSED_SECONDS = 600


def reconcile() -> None:
    """Send nudges that were not sent, take over attempts whose supervisor fell silent, start what waits."""
    reap_supervisors()
    forget_done_messages()
    for message in OutboxMessage.objects.filter(attempt__state=State.QUEUED).order_by("pk")[:100]:
        if not send_message(message):
            break
    for attempt in expired_attempts():
        fence = claim_expired(attempt)
        if fence is not None:
            log.warning("took over an attempt whose supervisor fell silent", attempt=attempt.pk, fence=fence)
            start_supervisor(attempt, fence)
    start_what_waits()
    errands.take_over_silent()
    errands.start_what_waits()
    purge_processed_messages()


def expired_attempts() -> list[Attempt]:
    """Attempts whose lease ran out and whose trainer, if it lives, this machine can see."""
    now = timezone.now()
    long_ago = now - timedelta(seconds=FOREIGN_LEASES * settings.LEASE_SECONDS)
    expired = Attempt.objects.filter(state__in=HOLDS_SLOT, lease_until__lt=now)
    return list(expired.filter(Q(worker=this_host()) | Q(worker="") | Q(lease_until__lt=long_ago)))


def forget_done_messages() -> None:
    OutboxMessage.objects.exclude(attempt__state=State.QUEUED).delete()


def purge_processed_messages() -> None:
    """The embedded broker keeps every message it delivered; remove those that are no use any more."""
    if not settings.CELERY_BROKER_URL.startswith("filesystem"):
        return
    oldest = time.time() - PROCESSED_SECONDS
    for message in Path(str(settings.CELERY_BROKER_TRANSPORT_OPTIONS["processed_folder"])).glob("*.msg"):
        try:
            if message.stat().st_mtime < oldest:
                message.unlink()
        except FileNotFoundError:
            continue
