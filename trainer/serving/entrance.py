"""What every request passes: the token, a body of bearable size and speed, and a reply even to what breaks."""

import asyncio
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from trainer.serving.refusals import Refused, explain

log = logging.getLogger(__name__)
MOST_BODY_BYTES = 8 << 20
BODY_SECONDS = 30.0
"""For a body to arrive."""
WRITE_SECONDS = 60.0
"""For a client to take a piece that was written to it."""
ALIVE_SECONDS = 15.0
"""Between two signs of life in a stream that has nothing to say, so that nobody between takes it for dead."""
Asked = TypeVar("Asked", bound=BaseModel)
Result = TypeVar("Result")
Handler = Callable[[Request], Awaitable[Response]]
GONE = Response(status_code=499)


def guard(handler: Handler, tokens: Sequence[bytes]) -> Handler:
    """The handler behind the token, if there are any; faults become errors in OpenAI's form."""

    async def guarded(request: Request) -> Response:
        try:
            if tokens and not _knows(request.headers.get("Authorization", ""), tokens):
                raise Refused("The token is missing or wrong; send it as: Authorization: Bearer …", status=401)
            return await handler(request)
        except Refused as refused:
            return refused.response()
        except ClientDisconnect:
            return GONE
        except Exception:
            log.exception("a request failed")
            return Refused("The server failed; its output says why.", status=500).response()

    return guarded


def _knows(header: str, tokens: Sequence[bytes]) -> bool:
    """Compares with every token in constant time."""
    scheme, _, given = header.partition(" ")
    written = given.strip().encode("utf-8", "replace")
    found = [hmac.compare_digest(token, written) for token in tokens]
    return any(found) and scheme.lower() == "bearer"


async def read_body(request: Request, kind: type[Asked]) -> Asked:
    """The request in the body; raises Refused by its field."""
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                content += part
                if len(content) > MOST_BODY_BYTES:
                    raise Refused(
                        f"The body has more than {MOST_BODY_BYTES >> 20} MiB; send less at a time.", status=413
                    )
    except TimeoutError as error:
        raise Refused(f"The body did not arrive within {BODY_SECONDS:g} s.", status=408) from error
    try:
        return kind.model_validate_json(bytes(content))
    except ValidationError as error:
        raise explain(error) from error


async def while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The work's result; cancels it and raises ClientDisconnect when the client goes away first."""
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(_until_gone(request.receive))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        await _end(working, watching)


class EventStream(Response):
    """Server-sent events: one JSON object each, `[DONE]` at the end, an error as an event once the stream has begun.

    `play` writes events by the function that it is given. It is cancelled when the client goes away or reads nothing.
    """

    media_type = "text/event-stream"

    def __init__(
        self, play: Callable[[Callable[[dict[str, Any]], Awaitable[None]]], Coroutine[Any, Any, None]]
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._play = play

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        writing = asyncio.Lock()

        async def write(text: str) -> None:
            async with writing, asyncio.timeout(WRITE_SECONDS):
                await send({"type": "http.response.body", "body": text.encode("utf-8", "replace"), "more_body": True})

        async def tell(event: dict[str, Any]) -> None:
            await write(f"data: {json.dumps(event, ensure_ascii=False)}\n\n")

        async def play() -> None:
            try:
                await self._play(tell)
            except Refused as refused:
                await tell(refused.body())
            except (OSError, asyncio.CancelledError):
                raise
            except Exception:
                log.exception("a stream failed")
                await tell(Refused("The server failed; its output says why.", status=500).body())
            await write("data: [DONE]\n\n")

        async def keep_alive() -> None:
            while True:
                await asyncio.sleep(ALIVE_SECONDS)
                await write(": working\n\n")

        playing = asyncio.ensure_future(play())
        others = [asyncio.ensure_future(_until_gone(receive)), asyncio.ensure_future(keep_alive())]
        try:
            await asyncio.wait({playing, *others}, return_when=asyncio.FIRST_COMPLETED)
            finished = playing.done() and playing.exception() is None
        finally:
            await _end(playing, *others)
        if finished:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(*tasks: "asyncio.Future[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
