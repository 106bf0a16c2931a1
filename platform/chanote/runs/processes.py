"""The trainer as an operating-system process: started, recognised again, asked to stop, swept away."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from django.conf import settings

from chanote.runs.launching import import_path

MARK = "CHANOTE_ATTEMPT_DIRECTORY"
"""Environment variable that a trainer and everything it starts carry."""
PRIVATE = ("CHANOTE_", "DJANGO_", "PG", "REDIS_")
"""Names that begin so are the platform's: a trainer never opens its database."""


@dataclass
class Trainer:
    """A trainer process. `started` tells it from a later process with the same pid."""

    pid: int
    started: float
    directory: str
    child: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    """Set in the process that started it: only that one learns the exit code."""

    def is_alive(self) -> bool:
        if self.child is not None:
            return self.child.poll() is None
        return _is_trainer(self.pid, self.directory) and kernel_start_time(self.pid) == self.started

    def exit_code(self) -> int | None:
        """Exit code, negative for a signal; None when another process was its parent."""
        return self.child.poll() if self.child is not None else None

    def terminate(self) -> None:
        """Ask the trainer to save and leave."""
        if self.is_alive():
            _send(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the trainer and everything it started."""
        self.kill_group()
        self.sweep()

    def kill_group(self) -> None:
        if not self.is_alive():
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.child is not None:
            self.child.wait()

    def sweep(self) -> None:
        """End what the trainer started and left behind."""
        for process in _marked(self.directory):
            if process.pid != os.getpid():
                _send(process.pid, signal.SIGKILL)


def start_trainer(directory: Path, secrets: Mapping[str, str] | None = None) -> Trainer:
    """Start `python -m trainer run` in its own session, its output in files beside run.json.

    `secrets`: environment variables for it alone, which are never written down.
    """
    environment = trainer_environment() | {MARK: str(directory), "PYTHONUNBUFFERED": "1"}
    if settings.MACHINE_WATTS:
        environment["TRAINER_MACHINE_WATTS"] = str(settings.MACHINE_WATTS)
    environment |= secrets or {}
    environment.setdefault("OMP_NUM_THREADS", "1")
    with (directory / "stdout.log").open("ab") as stdout, (directory / "stderr.log").open("ab") as stderr:
        child = subprocess.Popen(
            [*trainer_command(), "run", str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=directory,
            env=environment,
            start_new_session=True,
            close_fds=True,
        )
    return Trainer(child.pid, kernel_start_time(child.pid) or time.time(), str(directory), child)


def trainer_environment() -> dict[str, str]:
    """What a trainer process sees of the platform's surroundings: nothing of its own settings and secrets."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PRIVATE)}
    return environment | {"PYTHONPATH": import_path()}


def trainer_command() -> list[str]:
    # -P keeps the attempt directory, which is the working directory, off the import path.
    return settings.TRAINER_COMMAND or [sys.executable, "-P", "-m", "trainer"]


def find_trainer(directory: str, *, pid: int | None, started: float | None) -> Trainer | None:
    """The trainer that works in a directory, if it still lives: by pid and start time, else by its command line.

    The second way finds one whose supervisor was killed before it could write the pid down.
    """
    if pid is not None and started is not None:
        known = Trainer(pid, started, directory)
        return known if known.is_alive() else None
    for process in psutil.process_iter():
        if _is_trainer(process.pid, directory):
            found = kernel_start_time(process.pid)
            if found is not None:
                return Trainer(process.pid, found, directory)
    return None


def kernel_start_time(pid: int) -> float | None:
    """When a process started, as the kernel counts it (Linux: ticks since boot); None when there is no such process."""
    if sys.platform == "linux":
        try:
            # The name in parentheses may hold spaces; the start time is field 22 of proc(5).
            return float(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
        except (OSError, IndexError):
            return None
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _is_trainer(pid: int, directory: str) -> bool:
    """Whether a process is a trainer at work in this directory; one that ended but was not waited for is not."""
    try:
        process = psutil.Process(pid)
        return process.cmdline()[-2:] == ["run", directory] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _marked(directory: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == directory and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return
