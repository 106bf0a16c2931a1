"""`chanote serve`: one checkpoint behind OpenAI's API until Ctrl-C, told to the web application meanwhile."""

import argparse
import json
import queue
import shlex
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from chanote.commands.answers import DONE, FAILED, MACHINE, NOT_FOUND, CommandEnd

if TYPE_CHECKING:
    from chanote.chat.serving import Servable

END_SECONDS = 30.0
TOLD_LINES = 15
"""Of the server's output when it ends unasked."""


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    parser = nouns.add_parser("serve", parents=[common], help="serve a checkpoint behind OpenAI's API")
    parser.add_argument("checkpoint", help="MODEL, RUN (its newest checkpoint) or RUN@STEP")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--engine", choices=["auto", "torch", "vllm"], default="auto", help="vLLM where it is there")
    parser.add_argument("--context", type=int, help="tokens of prompt and completion")
    parser.add_argument("--concurrency", type=int, help="completions in work at a time")
    parser.set_defaults(action=serve)


def serve(args: argparse.Namespace) -> int:
    from chanote.accounts.roles import require
    from chanote.chat.serving import NotServable, find_servable, make_token_file, serve_command
    from chanote.commands.finding import find_actor, find_project

    actor = find_actor(args)
    project = find_project(args, actor)
    require(actor, "models.serve", project)
    try:
        servable = find_servable(project, args.checkpoint)
    except NotServable as error:
        raise CommandEnd(str(error), NOT_FOUND) from error
    more = [f"--{name}={value}" for name in ("context", "concurrency") if (value := getattr(args, name)) is not None]
    try:
        token_file = make_token_file()
    except OSError as error:
        raise CommandEnd(f"{error.filename} cannot be written: {error.strerror}.", MACHINE) from error
    engine = args.engine if servable.tells_tools else "torch"
    command = serve_command(servable, host=args.host, port=args.port, token_file=token_file, engine=engine, more=more)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    server = Server(command)
    try:
        return _serve(args, servable, server, token_file, actor, stop)
    finally:
        server.end()
        token_file.unlink(missing_ok=True)


def _serve(
    args: argparse.Namespace, servable: "Servable", server: "Server", token_file: Any, actor: Any, stop: threading.Event
) -> int:
    from chanote.chat.models import BEAT_S
    from chanote.chat.services import announce, show_alive, withdraw

    if not args.json:
        print(f"Reading {servable.name} ...", file=sys.stderr, flush=True)
    facts = server.wait_until_ready(args.host, token_file.read_text().strip(), stop)
    if facts is None:
        return DONE
    address = f"http://{facts['reached']}:{facts['port']}"
    served = announce(
        servable,
        address=address,
        token_file=token_file,
        engine=str(facts.get("engine", "")),
        context=int(facts.get("context", 0)),
        actor=actor,
    )
    try:
        _tell(args, servable, address, token_file.read_text().strip())
        while not stop.wait(BEAT_S):
            if server.ended:
                raise CommandEnd(f"The server ended by itself.\n{server.last_words()}", FAILED)
            show_alive(served)
    finally:
        withdraw(served, actor=actor)
    return DONE


def _tell(args: argparse.Namespace, servable: "Servable", address: str, key: str) -> None:
    base = f"{address}/v1"
    if args.json:
        print(json.dumps({"base_url": base, "model": servable.name, "api_key": key}), flush=True)
        return
    body = json.dumps({"model": servable.name, "messages": [{"role": "user", "content": "Hello"}]})
    print(
        f"\n{servable.name} answers at {base}\n  model    {servable.name}\n  API key  {key}\n\n"
        f"  curl {base}/chat/completions -H 'Authorization: Bearer {key}' \\\n"
        f"    -H 'Content-Type: application/json' -d {shlex.quote(body)}\n\n"
        "The page Chat of the project offers it too. Ctrl-C stops it.",
        flush=True,
    )


class Server:
    """The trainer's process, and what it says."""

    def __init__(self, command: list[str]) -> None:
        # A session of its own keeps the terminal's Ctrl-C away: stopping it is our task. It ends with its input.
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        self._lines: list[str] = []
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait_until_ready(self, host: str, key: str, stop: threading.Event) -> dict[str, Any] | None:
        """Where it listens and what it said of itself, once it answers; None when told to stop before."""
        import http.client

        from trainer.contract.exchange import exchange

        headers = {"Authorization": f"Bearer {key}", "Connection": "close"}
        facts: dict[str, Any] = {"reached": "127.0.0.1" if host in ("0.0.0.0", "::") else host}  # noqa: S104
        while not stop.is_set():
            try:
                event = self._events.get(timeout=0.2)
            except queue.Empty:
                event = {}
            if event is None:
                raise CommandEnd(self.last_words() or "The server ended before it answered.", FAILED)
            facts |= {name: value for name, value in event.items() if name != "event"}
            if "port" not in facts or (facts.get("engine") == "torch" and "context" not in facts):
                continue
            address = f"http://{facts['reached']}:{facts['port']}"
            try:
                status, content, _ = exchange(address, "/v1/models", None, headers, seconds=5, most_bytes=1 << 20)
                if status == 200:
                    facts["context"] = int(json.loads(content)["data"][0].get("max_model_len") or 0)
                    return facts
            except (OSError, http.client.HTTPException, LookupError, TypeError, ValueError):
                continue
        return None

    def last_words(self) -> str:
        """The end of its output, without the lines for programs."""
        return "\n".join([line for line in self._lines if not line.startswith("{")][-TOLD_LINES:])

    def end(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            text = line.decode("utf-8", "replace").rstrip()
            self._lines = [*self._lines[-200:], text]
            try:
                event = json.loads(text) if text.startswith("{") else None
            except ValueError:
                event = None
            if isinstance(event, dict):
                self._events.put(event)
        self._events.put(None)
