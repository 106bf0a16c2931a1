"""Every request of these tests is watched: no change without an event in the audit log."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _every_change_is_logged() -> Iterator[None]:
    from tests.audited_requests import watch_requests

    with watch_requests():
        yield
