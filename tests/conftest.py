"""Fixtures shared by all tests. The platform's home is a temporary directory, see settings.py."""

import os
import sys
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = Path(os.environ.get("SHARED_DATA") or REPOSITORY.parent / "shared/data").resolve()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this machine cannot run and say why; in CI such a test fails instead."""
    if os.environ.get("CI") == "true" or SHARED_DATA.is_dir():
        return
    skip = pytest.mark.skip(reason=f"no data folder at {SHARED_DATA}; set SHARED_DATA")
    for item in items:
        if "shared_data" in item.keywords:
            item.add_marker(skip)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the container engine before the first test: its image is built beside the tests that need none."""
    if session.config.option.collectonly:
        return
    if any(item.get_closest_marker("docker") for item in session.items):
        from tests.sandbox_engine import start_engine

        start_engine()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item):
    """No test's time limit is spent on waiting for the image."""
    if item.get_closest_marker("docker"):
        from tests.sandbox_engine import why_no_engine

        why_no_engine()
    return (yield)


def pytest_unconfigure() -> None:
    """After the last fixture, and after Ctrl-C as well."""
    if engine := sys.modules.get("tests.sandbox_engine"):
        engine.stop_engine()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """In CI a skipped test has failed: what CI does not run, nobody runs."""
    report = yield
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def shared_data() -> Path:
    assert SHARED_DATA.is_dir(), f"no data folder at {SHARED_DATA}; set SHARED_DATA"
    return SHARED_DATA


@pytest.fixture(scope="session")
def prepared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with every table, no row and all static files, to copy from."""
    from tests.prepared_home import prepare_home

    return prepare_home(tmp_path_factory.mktemp("prepared-home"))


@pytest.fixture
def project(db):
    from chanote.accounts.models import Project

    return Project.objects.create(slug="law", name="Law assistant")


@pytest.fixture(autouse=True)
def _no_requests_counted():
    """Every test starts a user with no requests made in this minute: ids of users come again from test to test."""
    yield
    if throttles := sys.modules.get("chanote.api.throttles"):
        throttles.METER.forget()


@pytest.fixture(autouse=True, scope="session")
def _tests_may_empty_the_audit_log():
    """Tests with real transactions empty every table afterwards, which the log's triggers refuse to all others."""
    from django.db.backends.base.operations import BaseDatabaseOperations

    from chanote.audit import triggers

    flush = BaseDatabaseOperations.execute_sql_flush

    def flush_all(operations, statements):
        triggers.remove(operations.connection)
        try:
            return flush(operations, statements)
        finally:
            triggers.install(operations.connection)

    BaseDatabaseOperations.execute_sql_flush = flush_all
    yield
    BaseDatabaseOperations.execute_sql_flush = flush


@cache
def _hash_password(password: str) -> str:
    """Argon2 is slow on purpose; once per test run is enough."""
    from django.contrib.auth.hashers import make_password

    return make_password(password)


def _member(username: str, project, role: str | None):
    from chanote.accounts.models import Membership, User

    user = User.objects.create(username=username, password=_hash_password("correct horse battery"))
    if role:
        Membership.objects.create(user=user, project=project, role=role)
    return user


@pytest.fixture
def viewer(project):
    return _member("viewer", project, "viewer")


@pytest.fixture
def researcher(project):
    return _member("researcher", project, "researcher")


@pytest.fixture
def curator(project):
    return _member("curator", project, "curator")


@pytest.fixture
def project_admin(project):
    return _member("project-admin", project, "admin")


@pytest.fixture
def stranger(project):
    return _member("stranger", project, None)


@pytest.fixture
def client_of():
    """Make a logged-in browser session of a user."""
    from django.test import Client

    def make(user) -> Client:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return make
