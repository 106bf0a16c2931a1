"""`chanote up`: web server and worker of one machine, watched over until Ctrl-C."""

import argparse
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING

from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError

from chanote.commands.answers import DONE, FAILED, MACHINE, CommandEnd

if TYPE_CHECKING:
    from chanote.tools.serving import Service

RESTART_PAUSE_S = 1.0
REFUSED_TO_START = 2
RESTARTS = 20
"""A program that ends this often within one `up` is broken, not unlucky."""


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    parser = nouns.add_parser("up", parents=[common], help="start web server and worker on this machine")
    add_serving_arguments(parser)
    parser.set_defaults(action=run)


def add_serving_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default 8000)")
    parser.add_argument(
        "--logs",
        choices=["here", "files"],
        default="files" if sys.stderr.isatty() else "here",
        help="where the programs' logs go: standard error, or files in the home directory (default at a terminal)",
    )


def run(args: argparse.Namespace) -> int:
    prepare(args)
    return serve(args, tools=prepare_tools())


def prepare_tools() -> "Service | None":
    """The tool service that the settings ask for, with `CHANOTE_SANDBOX_CORPUS`; None when they ask for none."""
    from chanote.tools.serving import ServiceRefused, prepare_service, read_corpus_setting

    if settings.SANDBOX_CORPUS in ("", "0") or settings.SANDBOX_ADDRESSES:
        return None
    try:
        return prepare_service(read_corpus_setting(settings.SANDBOX_CORPUS))
    except ServiceRefused as refused:
        raise CommandEnd(str(refused), MACHINE) from refused


def prepare(args: argparse.Namespace) -> None:
    """Check the machine, then bring database, static files and the first administrator into place."""
    check_port(args.host, args.port)
    check_disk()
    try:
        call_command("migrate", interactive=False, verbosity=0)
        call_command("createcachetable", verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0, clear=False)
    except DatabaseError as error:
        raise CommandEnd(f"The database cannot be used: {error}. Check CHANOTE_DATABASE_URL.", MACHINE) from error
    except OSError as error:
        raise CommandEnd(f"{settings.HOME} cannot be written: {error.strerror}.", MACHINE) from error
    introduce_administrator(args)


def check_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            raise CommandEnd(f"Port {port} needs more rights than you have; choose one above 1023.", MACHINE) from None
        except (OSError, OverflowError) as error:
            reason = "is taken" if getattr(error, "errno", 0) == 98 else f"cannot be opened ({error})"
            raise CommandEnd(
                f"Port {port} on {host} {reason}; choose another with --port (make: PORT={port + 1}).", MACHINE
            ) from None


def check_disk() -> None:
    try:
        settings.HOME.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(settings.HOME).free
    except OSError as error:
        raise CommandEnd(f"{settings.HOME} cannot be made: {error.strerror}; set CHANOTE_HOME.", MACHINE) from error
    if free < settings.MINIMUM_FREE_BYTES:
        raise CommandEnd(
            f"{free // 2**20} MB are free at {settings.HOME} and {settings.MINIMUM_FREE_BYTES // 2**20} MB are needed; "
            "make room or set CHANOTE_HOME to another disk.",
            MACHINE,
        )


def introduce_administrator(args: argparse.Namespace) -> None:
    """On the first start, make the administrator and a project, and print the password once."""
    from chanote.accounts.models import Project, User
    from chanote.accounts.services import create_project, create_user

    if User.objects.filter(is_superuser=True).exists():
        return
    user, password = create_user("admin", is_superuser=True)
    if not Project.objects.exists():
        create_project(slug="main", name="Main", owner=user)
    print(f"\n  Log in as admin with the one-time password {password}\n  You choose your own at the first login.\n")
    sys.stdout.flush()


def serve(
    args: argparse.Namespace, *, once_up: Callable[[], None] | None = None, tools: "Service | None" = None
) -> int:
    """Run the programs until told to stop; `once_up` is called when pages can be opened. Returns the exit code."""
    programs = {
        "web server": [
            *(
                sys.executable,
                "-m",
                "uvicorn",
                "chanote.asgi:application",
                "--host",
                args.host,
                "--port",
                str(args.port),
            ),
            *("--log-level", "warning", "--timeout-graceful-shutdown", "3", "--no-access-log", "--lifespan", "off"),
        ],
        "worker": [sys.executable, "-m", "chanote.runs.worker"],
    }
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    resume_interrupted_runs()
    logs = settings.HOME / "logs" if args.logs == "files" else None
    watchers = [Watcher(name, command, stop, logs) for name, command in programs.items()]
    if tools is not None:
        watchers.append(Watcher("tool service", tools.command, stop, logs, instead=tools.without_code))
    try:
        for watcher in watchers:
            watcher.start()
        if wait_until_listening(args.host, args.port, stop):
            print(f"Chanote is at http://{args.host}:{args.port}/  (Ctrl-C stops it)", flush=True)
            if logs:
                print(f"Logs are in {logs}/", flush=True)
            if once_up:
                once_up()
            if tools is not None:
                threading.Thread(target=tell_of_tools, args=(tools, stop), daemon=True).start()
        while not stop.wait(0.2):
            if any(watcher.broken for watcher in watchers):
                break
    finally:
        # The worker must not take up anything new while the runs are being brought to a stop.
        for watcher in watchers:
            if watcher.is_needed:
                watcher.stop_program()
        stop_errands()
        stop_runs()
        # Rollouts may call tools until their runs have stopped.
        for watcher in watchers:
            watcher.stop_program()
        if tools is not None:
            forget_tools()
    return FAILED if any(watcher.broken for watcher in watchers) else DONE


def tell_of_tools(tools: "Service", stop: threading.Event) -> None:
    from chanote.tools.serving import wait_until_ready

    if sentence := wait_until_ready(tools.endpoint, stop):
        print(sentence, flush=True)


def forget_tools() -> None:
    from chanote.tools.serving import withdraw

    withdraw()


class Watcher:
    """Keeps one program running: starts it again when it ends unasked, gives up when that never helps.

    `instead` marks a program that the others do without: when it refuses to start (exit code 2) this command is taken
    in its place, and when it never runs the others go on.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        stop: threading.Event,
        logs: Path | None,
        *,
        instead: list[str] | None = None,
    ) -> None:
        self.name, self.command, self.stop, self.logs = name, command, stop, logs
        self.instead, self.is_needed = instead, instead is None
        self.broken = False
        self.program: subprocess.Popen[bytes] | None = None
        self.thread = threading.Thread(target=self._keep_running, name=f"watch {name}", daemon=True)
        self.ending = threading.Event()
        self.starting = threading.Lock()
        """Held while a program is started, so that none is started behind the back of who stops it."""

    def start(self) -> None:
        self.thread.start()

    def _keep_running(self) -> None:
        for count in range(RESTARTS + 1):
            with self._open_log() as log, self.starting:
                if self.ending.is_set():
                    return
                # A session of its own keeps the terminal's Ctrl-C away: stopping is our task, in the right order.
                self.program = subprocess.Popen(self.command, start_new_session=True, stdout=log, stderr=log)
            code = self.program.wait()
            if self.ending.is_set() or self.stop.is_set():
                return
            again = "starting it again"
            if code == REFUSED_TO_START and self.instead is not None and self.command != self.instead:
                self.command, again = self.instead, "starting it without code tools"
            print(f"The {self.name} ended with code {code}; {again}.", file=sys.stderr, flush=True)
            if self.ending.wait(RESTART_PAUSE_S * min(count + 1, 5)):
                return
        print(f"The {self.name} ended {RESTARTS} times; giving up.", file=sys.stderr, flush=True)
        self.broken = self.is_needed

    def _open_log(self) -> AbstractContextManager[IO[bytes] | None]:
        if self.logs is None:
            return nullcontext()
        self.logs.mkdir(parents=True, exist_ok=True)
        return (self.logs / f"{self.name.replace(' ', '-')}.log").open("ab")

    def stop_program(self, grace_s: float = 10) -> None:
        with self.starting:
            self.ending.set()
            program = self.program
        if program is None or program.poll() is not None:
            return
        program.terminate()
        try:
            program.wait(grace_s)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def wait_until_listening(host: str, port: int, stop: threading.Event, patience_s: float = 60) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and not stop.is_set():
        try:
            socket.create_connection((host, port), timeout=1).close()
            return True
        except OSError:
            stop.wait(0.1)
    return False


def stop_errands() -> None:
    """Let the platform's own long work leave; it goes on at the next start."""
    from chanote.errands.launching import stop_processes

    stop_processes(patience_s=10)


def _interrupted() -> Path:
    return settings.HOME / "interrupted-runs"


def stop_runs() -> None:
    """Let every training run save and end, and note which, so that the next start takes them up again."""
    from chanote.runs.models import Attempt, State
    from chanote.runs.services import stop_run

    active = list(Attempt.objects.filter(state=State.RUNNING).select_related("run"))
    if not active:
        return
    print("Saving the running runs ...", flush=True)
    _interrupted().write_text("\n".join(str(attempt.run_id) for attempt in active))
    for attempt in active:
        stop_run(attempt.run, actor=None)
    deadline = time.monotonic() + settings.STOP_GRACE_SECONDS + 15
    ids = [attempt.pk for attempt in active]
    while time.monotonic() < deadline:
        if not Attempt.objects.filter(pk__in=ids, state__in=[State.RUNNING, State.STOPPING]).exists():
            return
        time.sleep(0.2)
    print("A run did not stop in time; its supervisor ends it.", file=sys.stderr, flush=True)


def resume_interrupted_runs() -> None:
    """Take up the runs that the last Ctrl-C stopped."""
    from chanote.runs.models import Run, State
    from chanote.runs.services import resume_run, retry_run

    try:
        ids = _interrupted().read_text().split()
    except FileNotFoundError:
        return
    for run in Run.objects.filter(pk__in=ids, state__in=[State.STOPPED, State.FAILED]):
        if run.checkpoints.filter(removed=None).exists():
            resume_run(run, actor=None)
        else:
            retry_run(run, actor=None)
        print(f"Going on with run {run.number}, {run.name}.", flush=True)
    _interrupted().unlink()
