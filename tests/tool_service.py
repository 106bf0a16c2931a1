"""The real tool service as a process of its own for tests of the platform, and services that misbehave."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.sandbox_serving import begin_service, wait_until_served

TOKEN = "a-token-of-the-tests-0123456789"


class ToolService:
    """`python -m toolsandbox serve` on a free port, with a token; code tools find no engine."""

    def __init__(self, folder: Path, corpus: Path, *, code: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "log"
        self.token_file = folder / "token"
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(f"platform:{TOKEN}\n")
        limits = folder / "code.toml"
        limits.write_text(f'socket = "{folder / "no-engine.sock"}"\n')
        words = ["--corpus", corpus, "--index-folder", folder / "indexes", "--token-file", self.token_file]
        words += ["--language", "th"] + (["--code-settings-file", limits] if code else ["--no-code"])
        self.process = begin_service(self.log, *words)
        self.address = ""

    def start(self) -> "ToolService":
        """Wait until it answers; its first request waits for the index."""
        from chanote.tools.client import ask
        from chanote.tools.endpoints import Endpoint

        self.address = wait_until_served(self.process, self.log)
        assert ask(Endpoint(self.address, self.token_file), "/readyz", seconds=120).status == 200
        return self

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def point_platform_at(settings: Any, *addresses: str, token_file: Path | None = None) -> None:
    """Have the platform use these services, and ask them anew."""
    from chanote.tools.health import forget_health

    settings.SANDBOX_ADDRESSES = list(addresses)
    # A busy machine may be slow to schedule a service that is well.
    settings.SANDBOX_PATIENCE_MS = 60_000
    settings.SANDBOX_TOKEN_FILE = str(token_file or "")
    forget_health()


@contextmanager
def answer_with(replies: dict[str, tuple[int, bytes]], *, drip_s: float = 0.0) -> Iterator[tuple[str, list[Any]]]:
    """A server with these replies by path; `drip_s` seconds between the bytes of a body. Gives its address and the
    requests that came: path, token, body."""
    seen: list[Any] = []
    over = threading.Event()

    class Answers(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen.append((self.path, self.headers.get("Authorization"), body))
            status, content = replies.get(self.path, (404, b'{"error": {"code": "x", "message": "no such thing"}}'))
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            try:
                for place in range(len(content)):
                    if drip_s and over.wait(drip_s):
                        return
                    self.wfile.write(content[place : place + 1] if drip_s else content)
                    if not drip_s:
                        return
            except OSError:
                return

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def find_dead_address() -> str:
    """An address at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"
