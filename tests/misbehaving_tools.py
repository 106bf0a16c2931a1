"""Tool services that hang, lie, flood or die, one call at a time."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOOD = {"id": "c1", "tool": "search_law", "session": "s", "result": {"status": "ok", "text": "section 12"}}
Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    behaviours: list[Behaviour]
    seen: list[dict[str, Any]]
    body: dict[str, Any]
    """Of the call that is being answered."""

    def do_POST(self) -> None:
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append({"path": self.path, "key": self.headers.get("Authorization"), **self.body})
        (self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0])(self)

    def do_DELETE(self) -> None:
        self.seen.append({"path": self.path})
        self.behaviours[0](self)

    def do_GET(self) -> None:
        self.behaviours[0](self)

    def say(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *said: object) -> None:
        """Nothing is to be read of it."""


@contextmanager
def serving(*behaviours: Behaviour) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    handler = type("One", (Handler,), {"behaviours": list(behaviours), "seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def good(handler: Handler) -> None:
    handler.say(200, json.dumps(GOOD).encode())


def busy(handler: Handler) -> None:
    handler.say(
        429, json.dumps({"error": {"code": "overloaded", "message": "the queue is full"}}).encode(), Retry_After="0"
    )


def broken(handler: Handler) -> None:
    failed = {"status": "infra_error", "text": "the container vanished", "retryable": True}
    handler.say(200, json.dumps({**GOOD, "result": failed}).encode())


def dead(handler: Handler) -> None:
    handler.connection.close()


def flood(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b'{"result": "' + b"x" * (1 << 20))
    except OSError:
        return


def silent(handler: Handler) -> None:
    handler.rfile.read()


def nonsense(handler: Handler) -> None:
    handler.say(200, b"<html>welcome to the hotel</html>")


def liar(handler: Handler) -> None:
    handler.say(200, json.dumps({**GOOD, "result": {"status": "splendid", "text": "all is well"}}).encode())
