"""A served checkpoint that says what a test wants, over real HTTP, as `chanote serve` would tell the platform of it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KEY = "chanote-key-of-the-tests"


def piece(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def say(text: str, *, reason: str = "stop") -> list[Any]:
    """Events of an answer, letter by letter."""
    usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": len(text)}}
    return [*(piece({"content": letter}) for letter in text), piece({}, reason), usage]


def call(*calls: tuple[str, Any], text: str = "") -> list[Any]:
    """Events of an answer with calls; arguments that are text are sent as they are."""
    events = [piece({"content": text})] if text else []
    for place, (name, arguments) in enumerate(calls):
        written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        function = {"name": name, "arguments": written}
        events.append(piece({"tool_calls": [{"index": place, "id": f"call_{place}", "function": function}]}))
    return [*events, piece({}, "tool_calls")]


class Model:
    """`answers`: for each request its events; a number is a status, an Event is waited for, `None` breaks off."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers, self.asked = list(answers), list[dict[str, Any]]()
        self.left = threading.Event()
        """A client went away in the middle."""
        self.address = ""


@contextmanager
def serve_answers(*answers: Any) -> Iterator[Model]:
    model = Model(list(answers))
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Authorization"] == f"Bearer {KEY}"
            model.asked.append(json.loads(body))
            events = model.answers.pop(0)
            if isinstance(events, tuple):
                status, content = events
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            try:
                self._write(events)
            except OSError:
                model.left.set()

        def _write(self, events: list[Any]) -> None:
            for event in events:
                if event is None:
                    return
                if isinstance(event, threading.Event):
                    while not event.wait(0.01) and not over.is_set():
                        self.wfile.write(b": working\n\n")
                    continue
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    model.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield model
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def make_served(project: Any, address: str, folder: Path, **fields: Any) -> Any:
    from chanote.chat.models import ServedModel

    key = folder / "key"
    key.write_text(f"{KEY}\n")
    given = {"name": "policy-step-4", "engine": "torch", "context": 512, "token_file": str(key), **fields}
    return ServedModel.objects.create(project=project, address=address, **given)
