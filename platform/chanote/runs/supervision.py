"""Staying with one attempt: start or find its trainer, store what it tells, pass on wishes, close it."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from chanote.runs.endings import Ending, close_attempt, judge
from chanote.runs.ingest import add_platform_event, apply_effects, ingest_new_lines, retry_effects, spec_of
from chanote.runs.launching import nudge_first
from chanote.runs.leases import Superseded, hold
from chanote.runs.models import ACTIVE, Attempt, Run, State
from chanote.runs.processes import Trainer, find_trainer, start_trainer
from chanote.runs.services import continue_parked, explain_refusal
from chanote.tools.endpoints import read_secrets

Result = TypeVar("Result")
POLL_SECONDS = 0.25
RETRY_SECONDS = 1.0
DRAIN_TRIES = 5
LEAVE_SECONDS = 30


class Supervision:
    """One attempt under one fence."""

    def __init__(self, attempt_id: int, fence: int, *, parking: Callable[[], bool] = lambda: False) -> None:
        self.attempt_id = attempt_id
        self.fence = fence
        self.log = structlog.get_logger(__name__).bind(attempt=attempt_id, fence=fence)
        self.parking = parking
        """Tells that this installation is being shut down: the trainer shall save, and the run be queued again."""
        self.trainer: Trainer | None = None
        self.problem = ""
        """Why the newest events cannot be stored."""
        self._asked_to_stop: float | None = None

    def watch(self) -> None:
        """Stay until the attempt has ended."""
        try:
            trainer = self.enter()
            if trainer is None:
                return
            while trainer.is_alive():
                self.persist(self.look_once)
                self.pass_on_wishes(trainer)
                time.sleep(POLL_SECONDS)
            trainer.sweep()
            self.close(trainer.exit_code())
        except Superseded as reason:
            self.leave(str(reason))

    def enter(self) -> Trainer | None:
        """The trainer of the attempt: found again, or started. None when the attempt could be closed at once."""
        self.persist(lambda: hold(self.attempt_id, self.fence, supervisor_pid=os.getpid()))
        attempt = self.persist(lambda: Attempt.objects.select_related("run", "resume_from").get(pk=self.attempt_id))
        found = find_trainer(attempt.directory, pid=attempt.trainer_pid, started=attempt.trainer_started)
        if found is not None:
            self.log.info("adopted the trainer", pid=found.pid)
            self.trainer = found
            self.persist(lambda: self.note_trainer(found, adopted=True))
            return found
        if attempt.trainer_pid is not None or (Path(attempt.directory) / "events.jsonl").exists():
            self.close(None)
            return None
        if attempt.cancel_requested or attempt.stop_requested:
            self.close_early(Ending(State.CANCELLED if attempt.cancel_requested else State.STOPPED))
            return None
        try:
            directory = write_spec(attempt)
            # Between this and the start nothing may wait: a supervisor that lost its fence must not start a second one.
            if self.persist(self.refuse_start):
                self.persist(nudge_first)
                return None
            self.trainer = started = start_trainer(directory, read_secrets(attempt.run.snapshot.get("toolset")))
        except OSError as error:
            fault = (
                f"The attempt's directory {attempt.directory} cannot be written: {error.strerror}; free or repair it."
            )
            self.close_early(Ending(State.FAILED, fault=fault))
            return None
        self.log.info("started the trainer", pid=started.pid)
        self.persist(lambda: self.note_trainer(started, adopted=False))
        return started

    def refuse_start(self) -> bool:
        """Ask rights a last time, under the fence: what was withdrawn, revoked or has run out since the launch ends
        the attempt before anything reads a row. Nothing is lost; when it is allowed again it can be retried."""
        with transaction.atomic():
            hold(self.attempt_id, self.fence)
            refusal = explain_refusal(Run.objects.select_related("project").get(attempts=self.attempt_id))
            if refusal:
                close_attempt(self.attempt_id, self.fence, Ending(State.FAILED, fault=refusal))
        return bool(refusal)

    def note_trainer(self, trainer: Trainer, *, adopted: bool) -> None:
        with transaction.atomic():
            hold(self.attempt_id, self.fence, trainer_pid=trainer.pid, trainer_started=trainer.started)
            if adopted:
                add_platform_event(Attempt(pk=self.attempt_id), "attempt_adopted", pid=trainer.pid, fence=self.fence)

    def look_once(self) -> None:
        """Store what is new, renew the lease when it is half over, and see what people wish."""
        self.problem = self.take_in()
        self.attempt = attempt = Attempt.objects.get(pk=self.attempt_id)
        if attempt.fence != self.fence or attempt.state not in ACTIVE:
            raise Superseded(f"attempt {self.attempt_id} is {attempt.state} under fence {attempt.fence}")
        if attempt.lease_until is None or attempt.lease_until <= renew_before():
            hold(self.attempt_id, self.fence)

    def take_in(self) -> str:
        """Store every whole line there is, with its effects; what kept it from that, empty when nothing did."""
        try:
            while ingest_new_lines(self.attempt_id, self.fence):
                with self.lease_kept():
                    apply_effects(self.attempt_id, self.fence)
        except (Superseded, OperationalError, InterfaceError):
            raise
        except OSError as error:
            return error.strerror or str(error)
        except Exception as error:  # an event that cannot be stored must not leave a trainer without supervisor
            if not self.problem:
                self.log.exception("events cannot be stored")
            return f"{type(error).__name__}: {error}"
        return ""

    @contextmanager
    def lease_kept(self) -> Iterator[None]:
        """Renew the lease from a thread as long as something slow goes on."""
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(settings.LEASE_SECONDS / 3):
                with suppress(Superseded, OperationalError, InterfaceError):
                    hold(self.attempt_id, self.fence)
            connection.close()

        thread = threading.Thread(target=renew, name="lease")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def pass_on_wishes(self, trainer: Trainer) -> None:

        wished = self.attempt.stop_requested or self.attempt.cancel_requested or self.parking()
        if not wished:
            return
        if self._asked_to_stop is None:
            self.log.info("asking the trainer to stop")
            trainer.terminate()
            self._asked_to_stop = time.monotonic()
        elif time.monotonic() - self._asked_to_stop > settings.STOP_GRACE_SECONDS:
            self.log.warning("the trainer did not stop in time and is killed")
            trainer.kill()

    def close(self, exit_code: int | None) -> None:
        """Store the rest of the events and write how the attempt ended."""
        unreadable = self.drain()
        with self.lease_kept():
            self.persist(lambda: apply_effects(self.attempt_id, self.fence))
            self.persist(lambda: retry_effects(self.attempt_id))

        def end() -> None:
            attempt = Attempt.objects.select_related("run").get(pk=self.attempt_id)
            close_attempt(self.attempt_id, self.fence, judge(attempt, exit_code, unreadable=unreadable))

        self.persist(end)
        self.log.info("closed", exit_code=exit_code)
        if self.parking():
            self.persist(lambda: continue_parked(self.attempt_id))
        else:
            self.persist(nudge_first)

    def close_early(self, ending: Ending) -> None:
        """Close an attempt whose trainer never started."""
        self.persist(lambda: close_attempt(self.attempt_id, self.fence, ending))
        self.persist(nudge_first)

    def drain(self) -> str:
        """Store every whole line that is left; why that was not possible, empty when it was."""
        for _ in range(DRAIN_TRIES):
            self.problem = self.persist(self.take_in)
            if not self.problem:
                break
            time.sleep(RETRY_SECONDS)
        return self.problem

    def leave(self, reason: str) -> None:
        """Another supervisor holds the attempt. It has this one's trainer too, unless it has its own, or has closed."""
        self.log.warning("superseded", reason=reason)
        if self.trainer is None:
            return
        end = time.monotonic() + LEAVE_SECONDS
        while True:
            attempt = self.persist(lambda: Attempt.objects.filter(pk=self.attempt_id).first())
            if attempt is None or attempt.state not in ACTIVE or attempt.trainer_pid is not None:
                break
            if time.monotonic() > end:
                return
            time.sleep(RETRY_SECONDS)
        if attempt is None or attempt.state not in ACTIVE:
            self.trainer.kill()
        elif attempt.trainer_pid != self.trainer.pid:
            self.trainer.kill_group()

    def persist(self, act: Callable[[], Result]) -> Result:
        """Do something with the database until it works: it may be locked, full or away for a while."""
        while True:
            try:
                return act()
            except (OperationalError, InterfaceError) as error:
                self.log.warning("the database refused, trying again", error=str(error))
                connection.close()
                time.sleep(RETRY_SECONDS)


def write_spec(attempt: Attempt) -> Path:
    """Write run.json, which never changes afterwards, and return the attempt directory. Raises OSError."""

    spec = spec_of(attempt.run.snapshot).model_copy(
        update={
            "attempt": attempt.number,
            "resume_from": attempt.resume_from.directory if attempt.resume_from else "",
        }
    )
    directory = Path(attempt.directory)
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    target, partial = directory / "run.json", directory / "run.json.partial"
    if not target.exists():
        with partial.open("w", encoding="utf-8") as file:
            file.write(spec.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        partial.rename(target)
    return directory


def renew_before() -> datetime:
    """A lease that ends before this moment is at least half over."""

    return timezone.now() + timedelta(seconds=settings.LEASE_SECONDS / 2)
