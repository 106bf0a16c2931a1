"""What every request passes first: the bearer token, the size of its body, and a reply even to what breaks."""

import asyncio
import hmac
import secrets
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolsandbox.tools import Caller

log = structlog.get_logger("toolsandbox")
OPEN_PATHS = frozenset({"/livez"})
Result = TypeVar("Result")


def answer_error(status_code: int, code: str, message: str, *, retry_after_s: int | None = None) -> Response:
    """Every error of the service has this shape."""
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s is not None else None
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status_code, headers=headers)


def answer_unprocessable(error: ValidationError) -> Response:
    """422 as FastAPI answers it, for clients of services that are built on it."""
    faults = [
        {**fault, "loc": ("body", *fault["loc"])}
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return JSONResponse({"detail": faults}, status_code=422)


class ClientGone(Exception):
    """Nobody waits for the reply any more."""


async def run_while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The work's result, unless its client goes away first: then the work is cancelled. Raises `ClientGone`.

    The request's body must have been read.
    """

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(watch())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


def tenant_of(request: Request) -> str:
    return str(request.scope["tenant"])


def open_call(tenant: str, session: str | None = None) -> Caller:
    return Caller(tenant=tenant, call_id=secrets.token_hex(8), session=session)


def describe_fault(error: ValidationError) -> str:
    """The first fault of a request in one sentence, with the field it is in."""
    fault = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in fault["loc"] if not str(part).startswith(("dict[", "function-")))
    return f"{field}: {fault['msg']}" if field else f"the body is not what is asked for: {fault['msg']}"


class BodyTooLarge(Exception):
    """More bytes came than a body may have."""


def describe_limit(most_bytes: int) -> str:
    return f"the body is larger than {most_bytes} bytes"


class Entrance:
    """ASGI wrapper. Counts the body's bytes as they come, so a missing or false length changes nothing."""

    def __init__(
        self, app: ASGIApp, *, tokens: dict[str, str] | None, max_body_bytes: int, max_file_bytes: int
    ) -> None:
        self.app = app
        self.refusal: str | None = None
        """Why the service did not start, in one sentence."""
        self._tokens = [(token.encode(), tenant) for token, tenant in tokens.items()] if tokens is not None else None
        self._max_body_bytes = max_body_bytes
        self._max_file_bytes = max_file_bytes

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
        # Only files are put, and they are passed on piece by piece.
        most_bytes = self._max_file_bytes if scope["method"] == "PUT" else self._max_body_bytes
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > most_bytes:
            await answer_error(413, "too_large", describe_limit(most_bytes))(scope, receive, send)
            return
        await self._serve({**scope, "tenant": tenant or "default"}, receive, send, most_bytes=most_bytes)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, *, most_bytes: int) -> None:
        read = 0
        begun = False

        async def receive_counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most_bytes:
                raise BodyTooLarge(describe_limit(most_bytes))
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
