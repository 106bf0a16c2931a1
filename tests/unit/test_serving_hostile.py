"""Clients that flood, leave, send too much or read nothing do no harm to others."""

import asyncio
import copy
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.model_serving import Endpoint, make_policy, serve_here, serve_sampler, serve_script
from trainer.serving import entrance

ASK = {"role": "user", "content": "When?"}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with serve_here(make_policy()) as served:
        yield served


def wait_for(fact: Callable[[], bool]) -> None:
    while not fact():
        time.sleep(0.005)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"model": "tiny", "messages": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"model": "tiny", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "tiny", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
        b'{"model": "tiny", "messages": [{"role": "user", "content": "x"}], "seed": 1e400}',
        b'{"model": "tiny", "messages": [{"role": "user", "content": "x"}], "n": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_body_that_is_no_request_is_refused(endpoint: Endpoint, content: bytes):
    reply = endpoint.http.post(CHAT, content=content)
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_a_schema_nested_without_end_is_refused_and_the_server_lives(endpoint: Endpoint):
    tool = '{"type": "function", "function": {"name": "f", "parameters": ' + '{"a":' * 150 + "1" + "}" * 150 + "}}"
    content = (
        f'{{"model": "tiny", "messages": [{{"role": "user", "content": "x"}}], "tools": [{tool}], "max_tokens": 1}}'
    )
    assert endpoint.http.post(CHAT, content=content.encode()).status_code in (200, 400)
    assert endpoint.http.get("/readyz").json()["status"] == "ready"


def test_a_body_without_end_is_cut_off(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(entrance, "MOST_BODY_BYTES", 1 << 20)

    def flood() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * (1 << 16)

    reply = endpoint.http.post(CHAT, content=flood())
    assert reply.status_code == 413
    assert "1 MiB" in reply.json()["error"]["message"]


def test_a_body_that_never_arrives_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(entrance, "BODY_SECONDS", 0.2)
    with serve_here(make_policy()) as endpoint:
        host, _, port = endpoint.address.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            assert b" 408 " in slow.recv(4096)


def test_a_full_queue_is_said_at_once_and_those_in_it_are_answered():
    with serve_script("one", "two", held=True, waiting=1) as (endpoint, engine), ThreadPoolExecutor(2) as pool:
        first = pool.submit(endpoint.chat, ASK)
        wait_for(lambda: endpoint.served.sampler.load == (1, 0))
        second = pool.submit(endpoint.chat, ASK)
        wait_for(lambda: endpoint.served.sampler.load == (1, 1))
        refused = endpoint.post(CHAT, messages=[ASK])
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "1"
        assert "the queue is full" in refused.json()["error"]["message"]
        engine.let(40)
        answers = [one.result()["choices"][0]["message"]["content"] for one in (first, second)]
    assert answers == ["one", "two"]


def test_a_client_that_leaves_frees_its_place():
    with serve_script(None, "next", held=True, waiting=1) as (endpoint, engine):
        with endpoint.http.stream("POST", CHAT, json={"model": "tiny", "messages": [ASK], "stream": True}) as reply:
            next(reply.iter_lines())
            engine.let()
        wait_for(lambda: endpoint.served.sampler.load == (0, 0))
        engine.let_all()  # however many tokens were written before the engine heard of it
        assert endpoint.chat(ASK)["choices"][0]["message"]["content"] == "next"


def test_a_client_that_leaves_before_its_turn_is_never_sampled():
    with serve_script("one", "three", held=True, waiting=2) as (endpoint, engine), ThreadPoolExecutor(1) as pool:
        first = pool.submit(endpoint.chat, ASK)
        wait_for(lambda: endpoint.served.sampler.load == (1, 0))
        host, _, port = endpoint.address.removeprefix("http://").partition(":")
        body = b'{"model": "tiny", "messages": [{"role": "user", "content": "two"}]}'
        with socket.create_connection((host, int(port))) as leaving:
            head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            leaving.sendall(head.encode() + body)
            wait_for(lambda: endpoint.served.sampler.load == (1, 1))
        wait_for(lambda: endpoint.served.sampler.load == (1, 0))
        engine.let(40)
        first.result()
        assert endpoint.chat(ASK)["choices"][0]["message"]["content"] == "three"
        assert len(engine.prompts) == 2


def test_who_reads_nothing_is_let_go_and_others_are_served(monkeypatch: pytest.MonkeyPatch):
    """The completion would never end by itself; signs of life fill what lies between."""
    monkeypatch.setattr(entrance, "WRITE_SECONDS", 0.2)
    monkeypatch.setattr(entrance, "ALIVE_SECONDS", 0)
    with serve_script(None, "next", held=True) as (endpoint, engine):
        host, _, port = endpoint.address.removeprefix("http://").partition(":")
        with socket.socket() as silent:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            silent.connect((host, int(port)))
            body = b'{"model": "tiny", "messages": [{"role": "user", "content": "x"}], "stream": true}'
            silent.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            wait_for(lambda: len(engine.prompts) == 1)
            wait_for(lambda: endpoint.served.sampler.load == (0, 0))
            engine.let_all()
            assert endpoint.chat(ASK)["choices"][0]["message"]["content"] == "next"


def test_a_policy_without_probabilities_is_an_error_and_the_next_request_is_heard():
    import torch

    from trainer.serving.policy import open_sampler

    policy = copy.deepcopy(make_policy())
    sampler = open_sampler(policy, context=None, places=2, waiting=2)
    with serve_sampler(sampler, policy.tokenizer) as endpoint:
        with torch.no_grad():
            policy.model.model.norm.weight.fill_(float("nan"))
        for _ in range(2):
            reply = endpoint.post(CHAT, messages=[ASK])
            assert reply.status_code == 500
            assert "are no numbers" in reply.json()["error"]["message"]
        events = endpoint.stream(CHAT, messages=[ASK])
        assert "are no numbers" in events[-1]["error"]["message"]


def test_a_server_that_stops_says_so_to_those_who_wait():
    with ThreadPoolExecutor(1) as pool, serve_script(None, held=True) as (endpoint, _):
        waiting = pool.submit(endpoint.post, CHAT, messages=[ASK])
        wait_for(lambda: endpoint.served.sampler.load == (1, 0))
        asyncio.run(endpoint.served.sampler.stop())
        reply = waiting.result()
    assert reply.status_code == 503
    assert reply.json()["error"]["message"] == "The server is stopping."


def test_token_ids_beyond_the_vocabulary_are_refused(endpoint: Endpoint):
    reply = endpoint.post("/v1/completions", prompt=[5, 10**9])
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "prompt")
    assert endpoint.post("/v1/completions", prompt=[]).json()["error"]["param"] == "prompt"
    assert endpoint.post("/v1/completions", prompt="").json()["error"]["param"] == "prompt"
