"""What tests of several pages begin with; and every request of theirs is watched: no change without an event in the
audit log."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chanote.datasets.models import Dataset, DatasetVersion

HERE = Path(__file__).parent
LAST = "test_every_address_that_writes_was_seen_to_tell_of_it"


@pytest.fixture(autouse=True)
def _every_change_is_logged() -> Iterator[None]:
    from tests.audited_requests import watch_requests

    with watch_requests():
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The test that looks back on all others comes after them."""
    last = [item for item in items if item.name == LAST]
    items[:] = [item for item in items if item.name != LAST] + last


@pytest.fixture
def all_of_them(request: pytest.FixtureRequest) -> bool:
    """Whether this session runs every test of this folder, not a choice of them."""
    chosen = request.config.getoption("keyword") or request.config.getoption("deselect")
    ran = {item.path for item in request.session.items}
    return not chosen and set(HERE.glob("test_*.py")) <= ran and not any("::" in one for one in request.config.args)


@pytest.fixture
def plain_static(settings, tmp_path):
    """Pages are read as they are in development: no file needs to be collected first."""
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture
def browser(client_of, researcher, plain_static):
    return client_of(researcher)


@pytest.fixture
def version(project):
    """Four rows that may be evaluated on; none of them is in the store."""
    dataset = Dataset.objects.create(project=project, slug="code", title="Code of law", kind="prompts")
    return DatasetVersion.objects.create(
        dataset=dataset, number=1, sha256="a" * 64, rows=4, bytes=10, uses=["evaluate"]
    )


@pytest.fixture
def own_home(settings, tmp_path, plain_static):
    """A home of the installation with a store of its own."""
    settings.HOME = tmp_path / "home"
    settings.HOME.mkdir()
    settings.MINIMUM_FREE_BYTES = 0
    settings.STORAGES = {
        **settings.STORAGES,
        "artifacts": {**settings.STORAGES["artifacts"], "OPTIONS": {"location": tmp_path / "artifacts"}},
    }
    return settings.HOME
