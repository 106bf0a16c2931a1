"""A real container engine for the tests of the code tools, or the reason why there is none."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import pytest

from tests.private_engine import NoEngine, PrivateEngine, folder_of, remove_stale
from toolsandbox.code.engine import Engine, EngineError
from toolsandbox.code.settings import CallLimits, CodeSettings
from toolsandbox.code.workshop import Workshop

GIVEN = os.environ.get("SANDBOX_ENGINE_SOCKET")
"""An engine that runs already, with the image in it. Without it the tests start one of their own."""
PRIVATE = PrivateEngine(folder_of(os.getpid()))
SOCKET = Path(GIVEN) if GIVEN else PRIVATE.socket
IMAGE = os.environ.get("SANDBOX_IMAGE", "chanote-sandbox:latest")
SHORT = CallLimits(wall_s=1.0, cpu_s=30.0)
USUAL = CallLimits(wall_s=30.0, cpu_s=30.0)
"""Long enough for a busy machine: a test that is not about time never meets it."""


@cache
def why_no_engine() -> str | None:
    """Start the engine of this test run, once; answers why there is none, or None."""
    if GIVEN:
        with socket.socket(socket.AF_UNIX) as tried:
            try:
                tried.connect(GIVEN)
            except OSError as refused:
                return f"no container engine at {GIVEN}, which SANDBOX_ENGINE_SOCKET names: {refused.strerror}"
        return None
    remove_stale()
    try:
        PRIVATE.start()
        PRIVATE.load_image(IMAGE)
    except NoEngine as reason:
        PRIVATE.remove()
        return str(reason)
    return None


def stop_engine() -> None:
    """At the end of the test run, however it ends."""
    if not GIVEN:
        PRIVATE.remove()


@asynccontextmanager
async def open_workshop(owner: str, **settings: object) -> AsyncIterator[Workshop]:
    """A workshop that leaves nothing. Skips where engine or image are missing."""
    if reason := why_no_engine():
        pytest.skip(reason)
    chosen = {"socket": SOCKET, "image": IMAGE, "owner": f"test-{owner}", "limits": USUAL, "longest_wait_s": 120.0}
    workshop = Workshop(CodeSettings.model_validate({**chosen, **settings}))
    if await Engine(SOCKET).inspect_image(IMAGE) is None:
        pytest.skip(f"no image {IMAGE}; run docker/build-sandbox-image")
    try:
        await workshop.open()
        yield workshop
    finally:
        await workshop.close()


async def list_left(owner: str) -> list[str]:
    """Containers that a workshop of this owner left behind; the list alone may name some that are gone."""
    engine = Engine(SOCKET)
    try:
        listed = await engine.list_labelled(f"chanote.sandbox.owner=test-{owner}")
    except EngineError:
        return []
    return [each["Id"] for each in listed if await engine.inspect(each["Id"]) is not None]
