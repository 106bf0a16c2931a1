"""Every request of these tests is watched: no change without an event in the audit log."""

from collections.abc import Iterator
from pathlib import Path

import pytest

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
