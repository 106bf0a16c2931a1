"""What every request passes first: the bearer token, the size of its body, and a reply even to what breaks."""

import asyncio
import hmac
from collections.abc import Awaitable
from typing import TypeVar

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger("toolsandbox")
OPEN_PATHS = frozenset({"/livez"})


def answer_error(status_code: int, code: str, message: str, *, retry_after_s: int | None = None) -> Response:
    """Every error of the service has this shape."""
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s is not None else None
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status_code, headers=headers)


def tenant_of(request: Request) -> str:
    return str(request.scope["tenant"])


T = TypeVar("T")


class ClientGone(Exception):
    """The client hung up before its reply."""


async def run_while_connected(request: Request, work: Awaitable[T]) -> T:
    """The result of `work`, which is cancelled once the client is gone: a program that nobody waits for ends.

    To be called after the body was read. Raises `ClientGone`.
    """
    running = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_wait_for_leave(request.receive))
    try:
        await asyncio.wait({running, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            raise ClientGone("the client hung up before its reply")
        return running.result()
    finally:
        running.cancel()
        leaving.cancel()
        await asyncio.gather(running, leaving, return_exceptions=True)


async def _wait_for_leave(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class BodyTooLarge(Exception):
    """More bytes came than a body may have."""


class Entrance:
    """ASGI wrapper. Counts the body's bytes as they come, so a missing or false length changes nothing."""

    def __init__(self, app: ASGIApp, *, tokens: dict[str, str] | None, max_body_bytes: int) -> None:
        self.app = app
        self.refusal: str | None = None
        """Why the service did not start, in one sentence."""
        self._tokens = [(token.encode(), tenant) for token, tenant in tokens.items()] if tokens is not None else None
        self._max_body_bytes = max_body_bytes
        self._size_limit = f"the body is larger than {max_body_bytes} bytes"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        tenant = self._find_tenant(headers.get(b"authorization", b""))
        if tenant is None and scope["path"] not in OPEN_PATHS:
            refusal = answer_error(
                401, "unauthorized", "send the header Authorization: Bearer with this service's token"
            )
            refusal.headers["WWW-Authenticate"] = "Bearer"
            await refusal(scope, receive, send)
            return
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._max_body_bytes:
            await self._refuse_size(scope, receive, send)
            return
        await self._serve({**scope, "tenant": tenant or "default"}, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        read = 0
        begun = False

        async def receive_counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_body_bytes:
                raise BodyTooLarge(self._size_limit)
            return message

        async def send_noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive_counted, send_noted)
        except Exception:
            log.exception("request_failed", path=scope["path"])
            if not begun:
                await answer_error(500, "internal", "the service failed; its log says why")(scope, receive, send)

    async def _refuse_size(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer_error(413, "too_large", self._size_limit)(scope, receive, send)

    def _find_tenant(self, header: bytes) -> str | None:
        """Compares with every token in constant time."""
        if self._tokens is None:
            return "default"
        scheme, _, given = header.partition(b" ")
        found = None
        for token, tenant in self._tokens:
            if hmac.compare_digest(token, given.strip()) and scheme.lower() == b"bearer":
                found = tenant
        return found
