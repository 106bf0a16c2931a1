"""Files in and out of a container, as streams and by plain relative paths only."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from toolsandbox.code.calls import CallRefused
from toolsandbox.code.container import Container

LONGEST_PART = 255
MOST_PARTS = 16


def check_path(path: str) -> None:
    """Only plain relative paths. Raises `CallRefused`."""
    parts = path.split("/")
    wrong = not path or len(path.encode("utf-8", "surrogatepass")) > 512 or "\0" in path or not path.isprintable()
    odd = any(part in ("", ".", "..") or len(part.encode()) > LONGEST_PART for part in parts)
    if wrong or odd or len(parts) > MOST_PARTS:
        raise CallRefused(f"file {path[:80]!r}: a relative path of up to {MOST_PARTS} plain parts is wanted")


async def put_stream(
    container: Container, path: str, size: int, pieces: AsyncIterator[bytes], *, longest_s: float
) -> None:
    """Stream a file in. Raises `CallRefused` and `SandboxFailed`.

    A sender that stops in the middle leaves a container that waits for the rest: it is not used again.
    """
    whole = False
    try:
        async with asyncio.timeout(longest_s):
            failure = await container.put(path, size, pieces)
        whole = True
    except ValueError as wrong:
        raise CallRefused(f"file {path}: {wrong}") from None
    except TimeoutError:
        raise CallRefused(f"file {path}: its bytes did not come within {longest_s:g} seconds") from None
    finally:
        if not whole:
            container.alive = False
    if failure:
        raise CallRefused(f"file {path}: {failure}")


async def get_stream(container: Container, path: str, *, most_bytes: int) -> AsyncGenerator[bytes, None]:
    """Stream a regular file out. Raises `CallRefused` for anything else, and `SandboxFailed`.

    A reader that goes away in the middle leaves frames on the line: the container is not used again.
    """
    whole = False
    try:
        async for piece in container.get(path, most_bytes):
            yield piece
        whole = True
    except FileNotFoundError as missing:
        whole = True
        raise CallRefused(f"file {path}: {missing}") from None
    finally:
        if not whole:
            container.alive = False


async def in_pieces(content: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(content), 1 << 16):
        yield content[at : at + (1 << 16)]
