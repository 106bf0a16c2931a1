"""The tool service in this process, with the code tools on the tests' container engine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.sandbox_engine import IMAGE, SOCKET, USUAL, why_no_engine
from toolsandbox.code.engine import Engine
from toolsandbox.code.provider import CodeProvider
from toolsandbox.code.settings import CodeSettings
from toolsandbox.entrance import Entrance
from toolsandbox.service import build_app
from toolsandbox.settings import ServiceSettings


@dataclass
class OpenService:
    app: Entrance
    provider: CodeProvider
    client: httpx.AsyncClient


@asynccontextmanager
async def open_service(
    owner: str, *, token_file: Path | None = None, service: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[OpenService]:
    """A started service and a client of it. Skips where engine or image are missing."""
    if reason := why_no_engine():
        pytest.skip(reason)
    if await Engine(SOCKET).inspect_image(IMAGE) is None:
        pytest.skip(f"no image {IMAGE}; run docker/build-sandbox-image")
    chosen = {"socket": SOCKET, "image": IMAGE, "owner": f"test-{owner}", "limits": USUAL, "longest_wait_s": 120.0}
    provider = CodeProvider(CodeSettings.model_validate({**chosen, **settings}))
    app = build_app(ServiceSettings(token_file=token_file, **(service or {})), [provider])
    async with live(app):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=300) as client:
            yield OpenService(app, provider, client)


@asynccontextmanager
async def live(app: Entrance) -> AsyncIterator[None]:
    """The application's life in a task of its own: a fixture may be torn down in another one than it was set up in."""
    inner: Any = app.app
    opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    closing = asyncio.Event()

    async def run() -> None:
        async with inner.router.lifespan_context(inner):
            opened.set_result(None)
            await closing.wait()

    running = asyncio.create_task(run())
    await asyncio.wait({opened, running}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield
    finally:
        closing.set()
        await running
