"""Fixtures of tests that start real processes."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from serving import find_free_port

from tests.prepared_home import DATABASE

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def installation(
    prepared_home: Path, tmp_path: Path, settings, monkeypatch: pytest.MonkeyPatch, django_db_blocker
) -> Iterator["Installation"]:  # noqa: F821
    """An installation whose database this test shares with the processes it starts; none of them may be left."""
    from django.db import connections

    from tests.installation import Installation

    database = tmp_path / "chanote.sqlite3"
    shutil.copy(prepared_home / DATABASE, database)
    # A busy machine must not keep a supervisor from its lease; tests about silent ones ask for `short_leases`.
    numbers = {"LEASE_SECONDS": 60, "RECONCILE_SECONDS": 1, "STOP_GRACE_SECONDS": 20}
    for name, value in numbers.items():
        setattr(settings, name, value)
        monkeypatch.setenv(f"CHANOTE_{name}", str(value))
    settings.RUNS_DIRECTORY = tmp_path / "runs"
    settings.MINIMUM_FREE_BYTES = 0
    monkeypatch.setenv("CHANOTE_RUNS_DIRECTORY", str(settings.RUNS_DIRECTORY))
    monkeypatch.setenv("CHANOTE_MINIMUM_FREE_MB", "0")
    monkeypatch.setenv("CHANOTE_DATABASE_URL", f"sqlite:///{database}")
    with django_db_blocker.unblock():
        own = connections["default"]
        connections["default"] = type(own)({**own.settings_dict, "NAME": str(database)}, "default")
        installation = Installation(tmp_path)
        try:
            yield installation
        finally:
            left = installation.close()
            connections["default"].close()
            connections["default"] = own
    assert not left, f"left behind: {[process.pid for process in left]}"


@pytest.fixture
def short_leases(installation: "Installation", settings, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F821
    """Whoever falls silent is noticed after seconds. Where a worker looks too, it must not happen to the living."""
    settings.LEASE_SECONDS = 2
    monkeypatch.setenv("CHANOTE_LEASE_SECONDS", "2")
    monkeypatch.setattr("chanote.runs.leases.START_SECONDS", 4)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts are done by tests/scripted_trainer.py."""
    monkeypatch.setenv("CHANOTE_TRAINER_COMMAND", f"{sys.executable} {REPOSITORY / 'tests/scripted_trainer.py'}")


def _need(program: str | None, name: str) -> str:
    """The program, or a skip; in CI everything must be there."""
    if program is None:
        assert os.environ.get("CI") != "true", f"{name} is not installed"
        pytest.skip(f"{name} is not installed")
    return program


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A Redis server of this test alone."""
    server = _need(shutil.which("redis-server"), "redis-server")
    port = find_free_port()
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Address of a PostgreSQL server, to which the name of a database is added; `migrated` is one, empty, to copy."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = _need(str(installed[-1]) if installed else shutil.which("initdb"), "PostgreSQL")
    folder = Path(tempfile.mkdtemp(prefix="chanote-postgres-"))
    port = find_free_port()
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        # The server refuses to run as root.
        shutil.chown(folder, user)
    data = folder / "data"
    quiet = {"user": user, "stdout": subprocess.DEVNULL, "cwd": folder}
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    control = str(Path(initdb).with_name("pg_ctl"))
    subprocess.run([initdb, "-D", data, "-U", "chanote", "-A", "trust", "-E", "UTF8"], check=True, **quiet)
    subprocess.run(
        [control, "-D", data, "-w", "-l", folder / "server.log", "-o", options, "start"], check=True, **quiet
    )
    server = f"postgresql://chanote@127.0.0.1:{port}/"
    try:
        with psycopg.connect(f"{server}postgres", autocommit=True) as database:
            database.execute("CREATE DATABASE migrated")
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "chanote.settings"}
        environment["CHANOTE_DATABASE_URL"] = f"{server}migrated"
        command = [sys.executable, str(REPOSITORY / "manage.py"), "migrate", "--verbosity", "0", "--skip-checks"]
        subprocess.run(command, env=environment, check=True, timeout=300)
        yield server
    finally:
        subprocess.run([control, "-D", data, "-w", "-m", "immediate", "stop"], check=True, **quiet)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def postgres_url(postgres_server: str) -> str:
    """An empty, migrated database in PostgreSQL, for the tests of one file."""
    name = f"tests_{secrets.token_hex(4)}"
    with psycopg.connect(f"{postgres_server}postgres", autocommit=True) as database:
        database.execute(f"CREATE DATABASE {name} TEMPLATE migrated")
    return f"{postgres_server}{name}"


@pytest.fixture
def on_postgres(installation: "Installation", postgres_url: str, monkeypatch) -> Iterator["Installation"]:  # noqa: F821
    """The installation with its tables in PostgreSQL."""
    from django.db import connections
    from django.db.backends.postgresql.base import DatabaseWrapper

    from chanote.environment import read_database

    monkeypatch.setenv("CHANOTE_DATABASE_URL", postgres_url)
    on_file = connections["default"]
    connections["default"] = DatabaseWrapper(
        {**on_file.settings_dict, **read_database(Path()), "OPTIONS": {}}, "default"
    )
    try:
        yield installation
    finally:
        connections["default"].close()
        connections["default"] = on_file


@pytest.fixture
def small_disk(installation: "Installation", settings, monkeypatch) -> Iterator[Path]:  # noqa: F821
    """A file system of 256 KiB on which the runs of the installation lie."""
    place = installation.home / "small"
    place.mkdir()
    _need(shutil.which("mount") if os.geteuid() == 0 else None, "mount, or the right of root to use it,")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], check=True)
    settings.RUNS_DIRECTORY = place / "runs"
    monkeypatch.setenv("CHANOTE_RUNS_DIRECTORY", str(place / "runs"))
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def wait_for_port(port: int, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
