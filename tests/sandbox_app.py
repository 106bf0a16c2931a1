"""The tool service in this process, with the code tools on the tests' container engine."""

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
    inner: Any = app.app
    async with inner.router.lifespan_context(inner):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=300) as client:
            yield OpenService(app, provider, client)
