"""From a queued attempt to a supervisor: the outbox, the nudge, the detached process."""

import os
import subprocess
import sys
from pathlib import Path

import structlog
from django.conf import settings
from django.db import transaction

import chanote
import trainer.contract
from chanote.runs.leases import claim
from chanote.runs.models import Attempt, OutboxMessage
from chanote.runs.queue import first_in_queue

log = structlog.get_logger(__name__)
SUPERVISORS: list[subprocess.Popen[bytes]] = []
"""Supervisors that this process started and has not yet seen end; only so that none stays a zombie."""


def announce(attempt: Attempt) -> None:
    """Have a worker told of a queued attempt once the present transaction is committed."""
    message = OutboxMessage.objects.create(attempt=attempt)
    transaction.on_commit(lambda: send_message(message))


def send_message(message: OutboxMessage) -> bool:
    """Send one nudge and forget it; False leaves it in the outbox for the reconciler."""
    if not nudge(message.attempt_id):
        return False
    OutboxMessage.objects.filter(pk=message.pk).delete()
    return True


def nudge(attempt_id: int) -> bool:
    """Tell the workers that an attempt may be waiting. Losing or repeating this is harmless."""
    from chanote.runs.tasks import execute_attempt

    try:
        prepare_broker()
        execute_attempt.apply_async((attempt_id,), retry=False)
    except Exception as error:  # whatever a broker raises, the launch itself is safe in the database
        log.warning("nudge not sent", attempt=attempt_id, error=str(error))
        return False
    return True


def nudge_first() -> None:
    """Tell the workers of the attempt whose turn it is, if a slot is free for it."""
    attempt = first_in_queue()
    if attempt is not None:
        nudge(attempt.pk)


def prepare_broker() -> None:
    """Make the folders of the embedded broker, readable by their owner only."""
    if not settings.CELERY_BROKER_URL.startswith("filesystem"):
        return
    for option in ("data_folder_in", "processed_folder", "control_folder"):
        Path(str(settings.CELERY_BROKER_TRANSPORT_OPTIONS[option])).mkdir(mode=0o700, parents=True, exist_ok=True)


def start_attempt(attempt_id: int) -> bool:
    """What a nudge asks for: claim the attempt and start its supervisor. False when there is nothing to do."""
    reap_supervisors()
    fence = claim(attempt_id)
    if fence is None:
        return False
    start_supervisor(Attempt.objects.get(pk=attempt_id), fence)
    return True


def start_supervisor(attempt: Attempt, fence: int) -> None:
    """Start a supervisor that outlives this process. When it cannot start, the lease runs out and it is tried again."""
    directory = Path(attempt.directory)
    output = subprocess.DEVNULL
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        output = os.open(directory / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    except OSError as error:
        log.warning("no supervisor.log", attempt=attempt.pk, error=str(error))
    try:
        SUPERVISORS.append(
            subprocess.Popen(
                [sys.executable, "-P", "-m", "chanote.runs.supervisor", str(attempt.pk), str(fence)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": import_path()},
                start_new_session=True,
                close_fds=True,
            )
        )
    finally:
        if output != subprocess.DEVNULL:
            os.close(output)
    log.info("supervisor started", attempt=attempt.pk, fence=fence, pid=SUPERVISORS[-1].pid)


def reap_supervisors() -> None:
    SUPERVISORS[:] = [one for one in SUPERVISORS if one.poll() is None]


def import_path() -> str:
    """PYTHONPATH by which a child finds the same code as this process."""
    roots = dict.fromkeys(str(Path(str(module.__file__)).resolve().parents[1]) for module in (chanote, trainer))
    return os.pathsep.join(roots)


def start_what_waits() -> int:
    """Start supervisors for the head of the queue as long as slots are free; how many were started."""
    started = 0
    while (attempt := first_in_queue()) is not None and start_attempt(attempt.pk):
        started += 1
    return started
