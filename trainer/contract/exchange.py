"""One request over HTTP, within a time limit over all. Standard library only; no proxy and no redirect is followed."""

import http.client
import socket
import ssl
import threading
import time
from typing import NamedTuple
from urllib.parse import urlsplit


class Exchanged(NamedTuple):
    status: int
    content: bytes
    """One byte more than was asked for where there is more."""
    retry_after: str
    """The header as it came; empty without it."""


def exchange(
    address: str, path: str, content: bytes | None, headers: dict[str, str], *, seconds: float, most_bytes: int
) -> Exchanged:
    """POST `content` to `path` below `address`, or GET without content.

    Raises OSError (TimeoutError after `seconds`, ssl.SSLError), http.client.HTTPException and UnicodeError.
    """
    parts = urlsplit(address)
    assert parts.hostname is not None  # whoever takes addresses refuses one without
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=seconds, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=seconds)
    started = time.monotonic()
    watch: threading.Timer | None = None
    try:
        connection.connect()
        # The time limit of a socket is one of each read; a server that drips must be cut off as a whole.
        watch = threading.Timer(max(0.0, started + seconds - time.monotonic()), _cut, [connection.sock])
        watch.daemon = True
        watch.start()
        connection.request("GET" if content is None else "POST", parts.path + path, body=content, headers=headers)
        reply = connection.getresponse()
        read = reply.read(most_bytes + 1)
        if time.monotonic() >= started + seconds:
            raise TimeoutError
        return Exchanged(reply.status, read, reply.headers.get("Retry-After", ""))
    finally:
        if watch:
            watch.cancel()
        connection.close()


def _cut(connected: socket.socket) -> None:
    try:
        connected.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # closed in the meantime
