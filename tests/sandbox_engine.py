"""A real container engine for the tests of the code tools, or the reason why there is none."""

import asyncio
import os
import re
import socket
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

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


_ENGINE: list[Future[str | None]] = []
"""Of this test run; empty until it has been asked for."""


def start_engine() -> None:
    """Start the engine of this test run and go on while its image is built, which takes minutes the first time."""
    if _ENGINE:
        return
    answer: Future[str | None] = Future()
    _ENGINE.append(answer)
    if GIVEN:
        with socket.socket(socket.AF_UNIX) as tried:
            try:
                tried.connect(GIVEN)
                answer.set_result(None)
            except OSError as refused:
                reason = f"no container engine at {GIVEN}, which SANDBOX_ENGINE_SOCKET names: {refused.strerror}"
                answer.set_result(reason)
        return
    try:
        remove_stale()
        # Not in the thread: the daemon ends with the thread that started it.
        PRIVATE.start()
    except NoEngine as reason:
        PRIVATE.remove()
        answer.set_result(str(reason))
        return
    threading.Thread(target=_load_image, args=(answer,), name="sandbox image", daemon=True).start()


def _load_image(answer: "Future[str | None]") -> None:
    try:
        PRIVATE.load_image(IMAGE)
        answer.set_result(None)
    except NoEngine as reason:
        PRIVATE.remove()
        answer.set_result(str(reason))
    except BaseException as error:
        answer.set_exception(error)
        raise


def why_no_engine() -> str | None:
    """Wait for the engine of this test run and its image; answers why there is none, or None."""
    start_engine()
    return _ENGINE[0].result()


def stop_engine() -> None:
    """At the end of the test run, however it ends."""
    if not GIVEN:
        PRIVATE.remove()


class Traces:
    """What the containers of a workshop may leave on the host. Looks at nothing that belongs to other programs."""

    def __init__(self) -> None:
        self.containers: list[str] = []

    def note(self, engine: Engine) -> None:
        create = engine.create

        async def create_noted(spec: dict[str, Any], *, name: str) -> str:
            self.containers.append(await create(spec, name=name))
            return self.containers[-1]

        engine.create = create_noted  # type: ignore[method-assign]

    async def find(self) -> list[str]:
        """Processes, cgroups and mounts of these containers; they have a minute to end, as shims outlive their call."""
        deadline = asyncio.get_running_loop().time() + 60
        while (found := self._look()) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.1)
        return found

    def _look(self) -> list[str]:
        names = set(self.containers)

        def holds(text: str) -> bool:
            return any(word in names for word in re.findall(r"[0-9a-f]{64}", text))

        found = []
        for process in Path("/proc").glob("[0-9]*"):
            for fact in ("cmdline", "cgroup"):
                with suppress(OSError):
                    if holds((process / fact).read_text(errors="replace")):
                        found.append(f"process {process.name}")
        found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if holds(line)]
        found += [str(each) for each in Path("/sys/fs/cgroup").glob("*/*/*") if each.name in names]
        found += [str(each) for each in PRIVATE.folder.glob("data/containers/*") if each.name in names]
        return found

    def count_kept(self) -> int:
        """Files on the host's disk that the engine holds for containers and images."""
        return sum(1 for _ in PRIVATE.folder.glob("data/overlay2/*"))


@asynccontextmanager
async def open_workshop(owner: str, *, traces: Traces | None = None, **settings: object) -> AsyncIterator[Workshop]:
    """A workshop that leaves nothing. Skips where engine or image are missing."""
    if reason := why_no_engine():
        pytest.skip(reason)
    chosen = {"socket": SOCKET, "image": IMAGE, "owner": f"test-{owner}", "limits": USUAL, "longest_wait_s": 120.0}
    workshop = Workshop(CodeSettings.model_validate({**chosen, **settings}))
    if traces is not None:
        traces.note(workshop.engine)
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
