"""Long answers, sent part by part whichever server asks for them.

Under ASGI Django gathers a blocking iterator whole before it sends the first byte: of a file of 20 GB that is the
memory of the machine. These take one part after the other, each on the request's own thread.
"""

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.http import FileResponse, StreamingHttpResponse


def _take(parts: Iterator[bytes]) -> bytes | None:
    return next(parts, None)


class StreamedText(StreamingHttpResponse):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts: Iterator[bytes] = iter(self.streaming_content)  # type: ignore[arg-type]
        while (part := await sync_to_async(_take)(parts)) is not None:
            yield part


class StreamedFile(FileResponse):
    block_size = 1 << 20

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts: Iterator[bytes] = iter(self.streaming_content)  # type: ignore[arg-type]
        while (part := await sync_to_async(_take)(parts)) is not None:
            yield part
