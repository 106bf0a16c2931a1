"""Fixtures of tests that start real processes."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with every table and no row, to copy from."""
    from tests.installation import migrated_database

    return migrated_database(tmp_path_factory.mktemp("database") / "empty.sqlite3")


@pytest.fixture
def installation(
    migrated: Path, tmp_path: Path, settings, monkeypatch: pytest.MonkeyPatch, django_db_blocker
) -> Iterator["Installation"]:  # noqa: F821
    """An installation whose database this test shares with the processes it starts; none of them may be left."""
    from django.db import connections

    from tests.installation import Installation

    database = tmp_path / "chanote.sqlite3"
    shutil.copy(migrated, database)
    numbers = {"LEASE_SECONDS": 2, "RECONCILE_SECONDS": 1, "STOP_GRACE_SECONDS": 20}
    for name, value in numbers.items():
        setattr(settings, name, value)
        monkeypatch.setenv(f"CHANOTE_{name}", str(value))
    settings.RUNS_DIRECTORY = tmp_path / "runs"
    settings.MINIMUM_FREE_BYTES = 0
    monkeypatch.setenv("CHANOTE_RUNS_DIRECTORY", str(settings.RUNS_DIRECTORY))
    monkeypatch.setenv("CHANOTE_MINIMUM_FREE_MB", "0")
    monkeypatch.setenv("CHANOTE_DATABASE_URL", f"sqlite:///{database}")
    monkeypatch.setattr("chanote.runs.leases.START_SECONDS", 4)
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
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts are done by tests/scripted_trainer.py."""
    from tests.trainer_runs import REPOSITORY

    monkeypatch.setenv("CHANOTE_TRAINER_COMMAND", f"{sys.executable} {REPOSITORY / 'tests/scripted_trainer.py'}")
