"""A judge that does what a script says, on a loopback port. Answers `/v1/models` and `/v1/chat/completions`."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class JudgeServer(ThreadingHTTPServer):
    """`script` gets the number of the question (from 0) and its body, and returns a reply or misbehaves with it."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, script: Callable[[int, dict[str, Any]], "Reply"]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.models: Reply = Reply({"data": [{"id": "judge"}]})
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class Reply:
    """Status and content, perhaps late, perhaps in drops. A dict is sent as JSON."""

    def __init__(
        self,
        content: Any,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        after_s: float = 0.0,
        drip_s: float = 0.0,
        hang_up: bool = False,
    ) -> None:
        self.content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.status, self.headers, self.after_s = status, headers or {}, after_s
        self.drip_s, self.hang_up = drip_s, hang_up


def says(text: Any, *, finish_reason: str = "stop", **how: Any) -> Reply:
    """A chat completion with this text."""
    return Reply({"choices": [{"message": {"content": text}, "finish_reason": finish_reason}]}, **how)


def grades(score: Any, **how: Any) -> Reply:
    """A chat completion with this score, as the judge is asked to give it."""
    return says(json.dumps({"explanation": "Because.", "score": score}), **how)


@contextmanager
def serve(script: Callable[[int, dict[str, Any]], Reply]) -> Iterator[JudgeServer]:
    server = JudgeServer(script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: JudgeServer

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.headers.append(dict(self.headers))
        self._send(self.server.models if self.path == "/v1/models" else Reply({}, status=404))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number = len(self.server.asked)
            self.server.asked.append(body)
            self.server.headers.append(dict(self.headers))
        self._send(self.server.script(number, body))

    def _send(self, reply: Reply) -> None:
        self.server.over.wait(reply.after_s)
        if reply.hang_up:
            self.close_connection = True
            return
        try:
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.content)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if not reply.drip_s:
                self.wfile.write(reply.content)
                return
            for place in range(len(reply.content)):
                self.wfile.write(reply.content[place : place + 1])
                self.wfile.flush()
                time.sleep(reply.drip_s)
                if self.server.over.is_set():
                    return
        except OSError:
            return  # the client lost patience

    def log_message(self, *_: Any) -> None:
        """Tests read what was asked, not a log."""
