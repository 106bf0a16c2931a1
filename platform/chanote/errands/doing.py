"""Doing an errand in this process, from its claim to its end."""

import os
import threading
import traceback
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from chanote.audit.services import record
from chanote.datasets.errors import ImportRefused
from chanote.errands.kinds import find_kind
from chanote.errands.leases import Superseded, claim, hold
from chanote.errands.models import Errand, State
from chanote.errands.work import LeaseKeeper, Stopped, Work, WorkRefused
from chanote.runs.processes import kernel_start_time

log = structlog.get_logger(__name__)


def do_errand(errand: Errand, fence: int, *, leaving: threading.Event | None = None) -> None:
    """Work on a claimed errand until it has ended, and write how it ended. `leaving`: set when the process must end."""
    leaving = leaving or threading.Event()
    try:
        hold(errand.pk, fence, pid=os.getpid(), pid_started=kernel_start_time(os.getpid()))
    except Superseded:
        return
    keeper = LeaseKeeper(errand.pk, fence, settings.LEASE_SECONDS / 3)
    keeper.start()
    try:
        result = find_kind(errand.kind).function(Work(errand, fence, leaving=leaving)) or {}
        end: dict[str, Any] = {"state": State.FINISHED, "result": result, "words": ""}
    except Stopped:
        # Leaving is not stopping: the errand goes on at the next start of the platform.
        end = {"state": State.QUEUED} if leaving.is_set() else {"state": State.STOPPED}
    except Superseded:
        return
    except (WorkRefused, ImportRefused) as refused:
        end = {"state": State.FAILED, "fault": str(refused)}
    except Exception as error:  # a broken errand ends as failed, and its log says why
        traceback.print_exc()
        end = {"state": State.FAILED, "fault": f"It broke off: {type(error).__name__}: {error}"[:2000]}
    finally:
        keeper.ended.set()
        keeper.join()
    finish(errand, fence, end)


def finish(errand: Errand, fence: int, end: dict[str, Any]) -> None:
    """Write the end of an errand unless another process has taken it over."""
    with transaction.atomic():
        held = Errand.objects.filter(pk=errand.pk, fence=fence, state=State.RUNNING)
        ended = None if end["state"] == State.QUEUED else timezone.now()
        if not held.update(**end, ended=ended, lease_until=None, pid=None, pid_started=None, stop_asked=False):
            log.warning("another process holds the errand", errand=errand.pk, fence=fence)
            return
        if ended:
            record(f"errand.{end['state']}", errand, actor=errand.created_by, fault=end.get("fault", ""))


def do_here(errand: Errand) -> Errand:
    """Do a queued errand in this process, as tests and small commands wish; returns it as it ended."""
    claimed = claim(errand.pk)
    if claimed is not None:
        do_errand(claimed, claimed.fence)
    errand.refresh_from_db()
    return errand
