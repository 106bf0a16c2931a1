"""The endpoint over a small model: in a thread of the test, or as the process that people start."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from tests.trainer_runs import TINY

REPOSITORY = Path(__file__).resolve().parent.parent
TEXTS = [
    "The market of Nakhon opens on day 1. When does the market of Phrae open?",
    '<tool_call>\n{"name": "search_law", "arguments": {"query": "market Lampang", "top_k": 1}}\n</tool_call>',
    "มาตรา 12 ผู้ใดฝ่าฝืน ต้องระวางโทษปรับไม่เกินหนึ่งหมื่นบาท",
]


@cache
def make_policy(seed: int = 0, *, context: int = 256, head_dim: int = 16) -> Any:
    """Random weights, and a byte-level tokenizer that knows ChatML: it writes anything, broken characters too."""
    import torch

    from trainer.contract.stages.cpt import ModelShape
    from trainer.policy import initialise_policy
    from trainer.tokenizer import train_tokenizer

    shape = ModelShape(**{**TINY, "context_length": context, "head_dim": head_dim})
    tokenizer = train_tokenizer(TEXTS * 3, vocab_size=380, context_length=context)
    policy = initialise_policy(shape, tokenizer, seed=seed, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():  # attention far from uniform and layers that outweigh the tied embedding: no loops
        for name, weight in policy.model.named_parameters():
            weight.normal_(1.0 if "norm" in name else 0.0, 0.2, generator=generator)
    policy.answer_plainly()
    policy.model.requires_grad_(False)
    return policy


class Endpoint:
    """A client of one server."""

    def __init__(self, address: str, served: Any = None) -> None:
        self.address, self.served = address, served
        self.http = httpx.Client(base_url=address, timeout=120, trust_env=False)

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.http.post(path, json={"model": "tiny", **body})

    def complete(self, **body: Any) -> dict[str, Any]:
        reply = self.post("/v1/completions", **body)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def chat(self, *messages: dict[str, Any], **body: Any) -> dict[str, Any]:
        reply = self.post("/v1/chat/completions", messages=list(messages), **body)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def stream(self, path: str, **body: Any) -> list[dict[str, Any]]:
        """All events of a stream, which must end as streams do."""
        with self.http.stream("POST", path, json={"model": "tiny", "stream": True, **body}) as reply:
            assert reply.status_code == 200
            assert reply.headers["content-type"].startswith("text/event-stream")
            lines = [line for line in reply.iter_lines() if line]
        assert lines[-1] == "data: [DONE]"
        return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]

    def wait_until_healthy(self, server: "subprocess.Popen[bytes]", log: Path) -> None:
        """For a server that says so over HTTP alone."""
        while True:
            assert server.poll() is None, log.read_text()[-3000:]
            try:
                if self.http.get("/health", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.2)


@contextmanager
def serve_here(policy: Any, *, tokens: tuple[bytes, ...] = (), **settings: Any) -> Iterator[Endpoint]:
    """The endpoint on a real socket, in a thread; `settings` of the sampler."""
    from trainer.serving.policy import open_sampler

    sampler = open_sampler(policy, **{"context": None, "places": 8, "waiting": 64, **settings})
    with serve_sampler(sampler, policy.tokenizer, tokens=tokens) as endpoint:
        yield endpoint


@contextmanager
def serve_sampler(sampler: Any, tokenizer: Any, *, tokens: tuple[bytes, ...] = ()) -> Iterator[Endpoint]:
    from trainer.serving.app import Served, build_app
    from trainer.serving.command import open_socket
    from trainer.serving.conversation import Writer

    served = Served("tiny", sampler, Writer(tokenizer))
    config = uvicorn.Config(
        build_app(served, tokens=tokens), lifespan="on", log_config=None, timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    with open_socket("127.0.0.1", 0) as listening:
        # Little fits between the server and a client that reads nothing.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        endpoint = Endpoint(f"http://127.0.0.1:{listening.getsockname()[1]}", served)
        try:
            assert endpoint.http.get("/readyz").status_code == 200
            yield endpoint
        finally:
            endpoint.http.close()
            server.should_exit = True
            thread.join()


def begin_server(log: Path, directory: Path, *words: object, python: str = sys.executable) -> "subprocess.Popen[bytes]":
    command = [python, "-m", "trainer", "serve", str(directory), "--port", "0", *map(str, words)]
    with log.open("w") as file:
        return subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stderr=file, stdout=file)


def wait_until(log: Path, event: str, server: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """The line of the log that says so."""
    while True:
        ended = server.poll() is not None
        for line in log.read_text().splitlines():
            if line.startswith("{") and json.loads(line).get("event") == event:
                return dict(json.loads(line))
        assert not ended, log.read_text()[-3000:]
        time.sleep(0.02)


@contextmanager
def serve_model(folder: Path, directory: Path, *words: object) -> Iterator[Endpoint]:
    """`python -m trainer serve` on a free port under the name `tiny`; it must end cleanly when told to."""
    log = folder / "serve.log"
    server = begin_server(log, directory, "--name", "tiny", "--engine", "torch", *words)
    assert server.stdin is not None
    try:
        port = wait_until(log, "listening", server)["port"]
        wait_until(log, "serving", server)
        endpoint = Endpoint(f"http://127.0.0.1:{port}")
        try:
            yield endpoint
        finally:
            endpoint.http.close()
        server.terminate()
        assert server.wait(timeout=120) == 0, log.read_text()[-3000:]
        wait_until(log, "stopped", server)
    finally:
        server.stdin.close()
        server.kill()
        server.wait()


class ScriptedEngine:
    """Writes given texts, one for each request in turn, as the engine would: token by token, into the same reader.

    With `held`, one token is written for each `let`; `None` as text writes without end.
    """

    def __init__(self, tokenizer: Any, texts: list[str | None], *, held: bool = False) -> None:
        self.tokenizer, self.texts, self.held = tokenizer, list(texts), held
        self.vocabulary = len(tokenizer)
        self.prompts: list[tuple[int, ...]] = []
        self.sampler: Any = None
        self._allowed = threading.Semaphore(0)

    def let(self, tokens: int = 1) -> None:
        self._allowed.release(tokens)

    def let_all(self) -> None:
        """From now on without waiting, as many as there are."""
        self.held = False

    def serve(self, requests: Any, *, most: int, longest: int, should_stop: Any) -> None:
        from trainer.serving.sampling import ListeningReader

        end = self.tokenizer.convert_tokens_to_ids("<|im_end|>")
        reader = ListeningReader(
            self.tokenizer, end_tokens=frozenset({end}), context=longest, vocabulary=len(self.tokenizer)
        )
        reader.sampler = self.sampler
        while requests.wait():
            for number, request in requests.take():
                self.prompts.append(request.prompt_ids)
                requests.answer(number, self._write(reader, request, end, should_stop))

    def _write(self, reader: Any, request: Any, end: int, should_stop: Any) -> Any:
        from trainer.sampling.engine import StopReason

        row, text = reader.open(request), self.texts.pop(0)
        ids = [*self.tokenizer(text)["input_ids"], end] if text is not None else None
        place = 0
        while row.reason is None:
            while self.held and not self._allowed.acquire(timeout=0.01):
                if should_stop() or request.ticket.gone:
                    break
            reader.look([row], None)
            reader.add(row, ids[place] if ids else 300, -0.5)
            self.sampler.flush()
            place += 1
            if should_stop():
                row.reason = StopReason.INTERRUPTED
        return reader.close(row)


@contextmanager
def serve_script(*texts: str | None, held: bool = False, places: int = 1, waiting: int = 8) -> Iterator[Any]:
    """(endpoint, engine) of a server that writes these texts."""
    from trainer.serving.sampling import Sampler

    engine = ScriptedEngine(make_policy().tokenizer, list(texts), held=held)
    with serve_sampler(Sampler(engine, context=2048, places=places, waiting=waiting), engine.tokenizer) as endpoint:
        yield endpoint, engine
