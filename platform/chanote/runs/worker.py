"""The worker: one process that listens for nudges and, in a thread, looks after leases and the queue.

    python -m chanote.runs.worker [--park]

With --park the runs of this machine are parked when the worker is told to end: their trainers save a checkpoint and
the runs go on at the next start. Without it they go on alone, which is what an upgrade of the platform wants.
"""

import os
import signal
import socket
import sys
import threading
import time

import django
import structlog

log = structlog.get_logger(__name__)


class Watch(threading.Thread):
    """Reconciles and says that the worker lives, until it is told to end."""

    def __init__(self) -> None:
        super().__init__(name="reconciler", daemon=True)
        self.ended = threading.Event()

    def run(self) -> None:
        from django.conf import settings
        from django.db import connection

        from chanote.runs.reconciler import reconcile

        while True:
            try:
                beat()
                reconcile()
            except Exception:  # the next round may find a database or a disk that works again
                log.exception("reconciling failed")
                connection.close()
            if self.ended.wait(settings.RECONCILE_SECONDS):
                connection.close()
                return


def worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def beat() -> None:
    """Say that this worker lives."""
    from datetime import timedelta

    from django.utils import timezone

    from chanote.runs.models import Worker

    now = timezone.now()
    facts = {"host": socket.gethostname()[:120], "pid": os.getpid(), "heartbeat": now}
    Worker.objects.update_or_create(name=worker_name(), defaults=facts)
    Worker.objects.filter(heartbeat__lt=now - timedelta(days=1)).delete()


def run_worker(*, park: bool = False) -> int:
    """Work until SIGTERM or SIGINT."""
    from chanote.celery import app
    from chanote.runs.launching import prepare_broker
    from chanote.runs.models import Worker

    prepare_broker()
    watch = Watch()
    watch.start()
    arguments = [
        "worker",
        "--pool=solo",
        "--loglevel=WARNING",
        f"--hostname=chanote-{os.getpid()}@{socket.gethostname()}",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
    ]
    try:
        app.worker_main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    else:
        code = 0
    watch.ended.set()
    watch.join(timeout=30)
    if park:
        park_runs()
    Worker.objects.filter(name=worker_name()).delete()
    return code


def park_runs() -> int:
    """Have every supervisor of this machine park its run, and wait until they have; how many were left."""
    from django.conf import settings

    from chanote.runs.leases import HOLDS_SLOT, this_host
    from chanote.runs.models import Attempt
    from chanote.runs.processes import is_supervisor

    mine = Attempt.objects.filter(state__in=HOLDS_SLOT, worker=this_host(), supervisor_pid__isnull=False)
    for attempt in mine:
        if is_supervisor(attempt.supervisor_pid, attempt.pk):
            log.info("parking", attempt=attempt.pk)
            os.kill(attempt.supervisor_pid, signal.SIGTERM)
    end = time.monotonic() + settings.STOP_GRACE_SECONDS + 10
    while (left := mine.count()) and time.monotonic() < end:
        time.sleep(0.2)
    return left


def main(arguments: list[str]) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chanote.settings")
    django.setup()
    return run_worker(park="--park" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
