"""How an attempt ends: its true state from what is known, written once."""

import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from chanote.audit.services import record
from chanote.runs.ingest import add_platform_event
from chanote.runs.leases import hold
from chanote.runs.models import Attempt, Run, RunEvent, State
from chanote.runs.services import newest_checkpoint
from trainer.contract import ExitCode

LAST_WORDS = ("run_finished", "attempt_stopped", "attempt_failed")
TAIL_BYTES = 4096
FULL_BYTES = 64 * 1024
"""Less than this is no room for a line of events beside what other programs write."""


@dataclass(frozen=True)
class Ending:
    state: State
    fault: str = ""
    exit_code: int | None = None


def judge(attempt: Attempt, exit_code: int | None, *, unreadable: str = "") -> Ending:
    """The state in which an attempt ended, all its events being stored.

    `exit_code` is None when another process was the trainer's parent; then its last event decides. `unreadable` says
    why the end of its events could not be stored.
    """
    last = RunEvent.objects.filter(attempt=attempt, type__in=LAST_WORDS).order_by("-seq").first()
    said = {"run_finished": ExitCode.FINISHED, "attempt_stopped": ExitCode.STOPPED, "attempt_failed": ExitCode.FAILED}
    code = said.get(last.type) if exit_code is None and last is not None else exit_code
    if code == ExitCode.FINISHED and not unreadable:
        return Ending(State.FINISHED, exit_code=exit_code)
    if attempt.cancel_requested:
        return Ending(State.CANCELLED, exit_code=exit_code)
    # SIGTERM itself ends a trainer that was asked to stop before it could listen.
    deaf = code == -signal.SIGTERM and attempt.stop_requested
    if (code == ExitCode.STOPPED or deaf) and not unreadable:
        return Ending(State.STOPPED, exit_code=exit_code)
    if unreadable:
        fault = f"The trainer's events could not be stored to the end: {unreadable}"
    elif last is not None and last.type == "attempt_failed":
        fault = last.payload["error"]
    elif code is None:
        fault = "The trainer vanished without a word: it was killed, or the machine went down."
    elif code == -signal.SIGKILL and attempt.stop_requested:
        fault = f"The trainer saved nothing within {settings.STOP_GRACE_SECONDS} s of the wish to stop and was killed."
    elif code < 0:
        fault = describe_signal(-code)
    elif is_full(Path(attempt.directory)):
        fault = f"The disk that holds {attempt.directory} is full; free some space."
    else:
        fault = last_line(Path(attempt.directory) / "stderr.log") or f"The trainer ended with exit code {code}."
    return Ending(State.FAILED, fault=advise(attempt, fault), exit_code=exit_code)


def advise(attempt: Attempt, fault: str) -> str:
    """The fault with the way on, when there is one."""
    checkpoint = newest_checkpoint(attempt.run)
    if checkpoint is None:
        return fault
    return f"{fault.rstrip('. ')}. It can be resumed from step {checkpoint.step}."


def describe_signal(number: int) -> str:
    if number == signal.SIGKILL:
        return "The trainer was killed (SIGKILL): by a person, or by the system because memory ran out."
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"The trainer was ended by {name}; stderr.log may say more."


def is_full(directory: Path) -> bool:
    """Too full for the trainer to say what happened."""
    try:
        return shutil.disk_usage(directory).free < FULL_BYTES
    except OSError:
        return False


def last_line(path: Path) -> str:
    """The last line that is not blank, at most 500 characters; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:500] for line in reversed(lines) if line.strip()), "")


def close_attempt(attempt_id: int, fence: int, ending: Ending) -> None:
    """End the attempt and its run in one transaction. Raises Superseded when another holds it or it has ended."""
    with transaction.atomic():
        now = timezone.now()
        hold(attempt_id, fence)
        Attempt.objects.filter(pk=attempt_id).update(
            state=ending.state, fault=ending.fault, exit_code=ending.exit_code, ended=now, lease_until=None
        )
        attempt = Attempt.objects.select_related("run").get(pk=attempt_id)
        Run.objects.filter(pk=attempt.run_id).update(state=ending.state, fault=ending.fault, ended=now, updated=now)
        add_platform_event(attempt, "attempt_ended", state=ending.state, fault=ending.fault, exit_code=ending.exit_code)
        record(f"run.{ending.state}", attempt.run, attempt=attempt.number, fault=ending.fault)
