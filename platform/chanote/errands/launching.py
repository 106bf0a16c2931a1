"""From a queued errand to a process that outlives the one which started it."""

import os
import subprocess
import sys
from datetime import timedelta

import psutil
import structlog
from django.conf import settings
from django.utils import timezone

from chanote.errands.leases import claim, claim_expired
from chanote.errands.models import Errand, State
from chanote.runs.launching import import_path, prepare_broker
from chanote.runs.leases import this_host
from chanote.runs.processes import kernel_start_time

log = structlog.get_logger(__name__)
FOREIGN_LEASES = 10
"""Leases after which an errand of another machine is taken over: only its own machine can see its process."""
PROCESSES: list["subprocess.Popen[bytes]"] = []
"""Processes that this one started and has not yet seen end; only so that none stays a zombie."""


def nudge() -> None:
    """Tell the workers that an errand may wait. Losing this is harmless: they look every few seconds."""
    from chanote.errands.tasks import start_errands

    try:
        prepare_broker()
        start_errands.apply_async(retry=False)
    except Exception as error:  # whatever a broker raises, the errand is safe in the database
        log.warning("nudge not sent", error=str(error))


def start_what_waits() -> int:
    """Start a process for each errand that waits, as long as slots are free; how many."""
    PROCESSES[:] = [one for one in PROCESSES if one.poll() is None]
    started = 0
    while errand := claim():
        start_process(errand)
        started += 1
    return started


def take_over_silent() -> None:
    """Start errands again whose process fell silent, after making sure that it is dead."""
    now = timezone.now()
    silent = Errand.objects.filter(state=State.RUNNING, lease_until__lt=now)
    for errand in silent:
        long_ago = now - timedelta(seconds=FOREIGN_LEASES * settings.LEASE_SECONDS)
        if errand.host != this_host() and errand.lease_until and errand.lease_until > long_ago:
            continue
        again = claim_expired(errand)
        if again is not None:
            log.warning("took over an errand whose process fell silent", errand=errand.pk, fence=again.fence)
            _end_process(errand)
            start_process(again)


def start_process(errand: Errand) -> None:
    """Start the process of a claimed errand. When it cannot start, the lease runs out and it is tried again."""
    errand.directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    with (errand.directory / "errand.log").open("ab") as output:
        PROCESSES.append(
            subprocess.Popen(
                [sys.executable, "-P", "-m", "chanote.errands.process", str(errand.pk), str(errand.fence)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": import_path()},
                start_new_session=True,
                close_fds=True,
            )
        )
    log.info("errand started", errand=errand.pk, fence=errand.fence, pid=PROCESSES[-1].pid)


def _end_process(errand: Errand) -> None:
    """End a silent process of this machine, with everything that it started."""
    if errand.host != this_host() or errand.pid is None or kernel_start_time(errand.pid) != errand.pid_started:
        return
    try:
        process = psutil.Process(errand.pid)
        for one in [*process.children(recursive=True), process]:
            one.kill()
    except psutil.NoSuchProcess:
        return


def stop_processes(patience_s: float) -> None:
    """Let the errands of this machine leave; each is queued again and goes on at the next start."""
    here = list(Errand.objects.filter(state=State.RUNNING, host=this_host()).exclude(pid=None))
    alive = []
    for errand in here:
        if errand.pid is not None and kernel_start_time(errand.pid) == errand.pid_started:
            process = psutil.Process(errand.pid)
            process.terminate()
            alive.append(process)
    _, stubborn = psutil.wait_procs(alive, timeout=patience_s)
    for process in stubborn:
        process.kill()
