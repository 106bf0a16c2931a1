"""The worker: one process that listens for nudges and, in a thread, looks after leases and the queue.

    python -m chanote.runs.worker

When it ends, the runs go on: each has a supervisor of its own.
"""

import os
import socket
import sys
import threading
import warnings

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


def run_worker() -> int:
    """Work until SIGTERM or SIGINT."""
    from celery.platforms import SecurityWarning as RootWarning

    from chanote.celery import app
    from chanote.runs.launching import prepare_broker
    from chanote.runs.models import Worker

    # Celery would run Django's checks, which load every page and with them 100 MB that a worker never uses.
    os.environ.setdefault("CELERY_SKIP_CHECKS", "1")
    if os.geteuid() == 0:
        # In a line of our own: Celery's ten lines stand in everybody's way on a first start.
        warnings.simplefilter("ignore", RootWarning)
        log.warning("the worker runs as root; give it a user of its own")
    prepare_broker()
    watch = Watch()
    watch.start()
    arguments = [
        "--quiet",
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
    Worker.objects.filter(name=worker_name()).delete()
    return code


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chanote.settings")
    django.setup()
    return run_worker()


if __name__ == "__main__":
    sys.exit(main())
