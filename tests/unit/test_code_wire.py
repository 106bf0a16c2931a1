"""SandboxFusion's wire format without an engine: how an answer is told, what is refused, and what is asked again."""

import asyncio
import json
from typing import get_args

import httpx
import pytest

from toolsandbox.code import wire_routes
from toolsandbox.code.answers import CodeAnswer
from toolsandbox.code.container import SandboxFailed
from toolsandbox.code.pool import PoolFull
from toolsandbox.code.provider import CodeProvider
from toolsandbox.code.settings import CodeSettings
from toolsandbox.code.wire import CellRunResult, Language, write_reply
from toolsandbox.code.wire_routes import write_notebook
from toolsandbox.code.wire_runs import Notebook
from toolsandbox.service import build_app
from toolsandbox.settings import ServiceSettings


def reply(overall: str, message: str = "", **run: object) -> dict:
    usual = {"status": "Finished", "execution_time": 0.25, "return_code": 0, "stdout": "", "stderr": ""}
    return {
        "status": overall,
        "message": message,
        "compile_result": None,
        "run_result": {**usual, **run},
        "executor_pod_name": None,
        "files": {},
    }


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (CodeAnswer(status="ok", exit_code=0, stdout="1\n"), reply("Success", stdout="1\n")),
        (CodeAnswer(status="error", exit_code=3, stderr="no\n"), reply("Failed", return_code=3, stderr="no\n")),
        (CodeAnswer(status="error", signal=11), reply("Failed", return_code=139)),
        (
            CodeAnswer(status="timeout", limit="wall", stdout="so far"),
            reply("Failed", status="TimeLimitExceeded", return_code=None, stdout="so far"),
        ),
        (CodeAnswer(status="oom", signal=9), reply("Failed", "out of memory", return_code=137)),
        (
            CodeAnswer(status="output_limit", stdout="x", truncated=True),
            reply("Failed", "the program was stopped: it wrote more than it may", return_code=137, stdout="x"),
        ),
        (
            CodeAnswer(status="disk_limit", exit_code=1),
            reply("Failed", "the disk of the sandbox is full", return_code=1),
        ),
        (
            CodeAnswer(status="pids_limit", exit_code=1),
            reply("Failed", "the program has as many processes as it may", return_code=1),
        ),
    ],
)
def test_every_way_to_end_has_its_exact_reply(answer, wanted):
    written = write_reply(answer.model_copy(update={"wall_ms": 250.0}), {}, "")
    assert written.model_dump_json() == json.dumps(wanted, separators=(",", ":"))


def notebook_reply(status: str, message: str, driver: dict, cells: list) -> str:
    told = {
        "status": status,
        "message": message,
        "driver": {**driver, "stdout": "", "stderr": ""},
        "cells": cells,
        "executor_pod_name": None,
        "files": {},
    }
    return json.dumps(told, separators=(",", ":"))


def test_a_notebook_that_ended_early_tells_no_cells():
    cell = CellRunResult(stdout="1\n")
    ran = Notebook(CodeAnswer(status="ok", exit_code=0), cells=[cell], seconds=0.5)
    finished = {"status": "Finished", "execution_time": 0.5, "return_code": 0}
    shown = {"stdout": "1\n", "stderr": "", "display": [], "error": []}
    assert write_notebook(ran).model_dump_json() == notebook_reply("Success", "", finished, [shown])
    late = Notebook(CodeAnswer(status="timeout", limit="wall"), cells=[cell], seconds=0.5)
    too_late = {"status": "TimeLimitExceeded", "execution_time": 0.5, "return_code": None}
    assert write_notebook(late).model_dump_json() == notebook_reply("Failed", "", too_late, [])
    died = Notebook(CodeAnswer(status="error", exit_code=7, session_reset=True), cells=[cell, cell], seconds=0.5)
    told = {"status": "Finished", "execution_time": 0.5, "return_code": 7}
    assert write_notebook(died).model_dump_json() == notebook_reply("Failed", "cell 2 ended the interpreter", told, [])


class Ready(CodeProvider):
    """As if it had started: the runs themselves are replaced in these tests."""

    def __init__(self):
        super().__init__(CodeSettings())

    def require_workshop(self):
        return None


@pytest.fixture
def provider():
    return Ready()


@pytest.fixture
async def client(provider):
    app = build_app(ServiceSettings(), [provider])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://tools") as client:
        yield client


def replace_runs(monkeypatch, run):
    monkeypatch.setattr(wire_routes, "run_with_files", run)
    monkeypatch.setattr(wire_routes, "run_cells", run)


BODIES = [("/run_code", {"code": "print(1)", "language": "python"}), ("/run_jupyter", {"cells": ["1"]})]


@pytest.mark.parametrize(("path", "body"), BODIES)
@pytest.mark.parametrize("failure", [PoolFull("the queue is full"), SandboxFailed("the engine is away")])
async def test_overload_and_a_failed_sandbox_are_504_which_clients_ask_again(client, monkeypatch, path, body, failure):
    async def run(*given, **named):
        raise failure

    replace_runs(monkeypatch, run)
    response = await client.post(path, json=body)
    assert (response.status_code, response.headers["Retry-After"]) == (504, "1")
    assert response.json() == {"error": {"code": "ask_again", "message": str(failure)}}


async def test_an_infra_error_is_never_told_as_a_result(client, monkeypatch):
    async def run(*given, **named):
        return CodeAnswer(status="infra_error", message="the container was lost"), {}, ""

    replace_runs(monkeypatch, run)
    response = await client.post("/run_code", json={"code": "", "language": "python"})
    assert (response.status_code, response.json()["error"]["message"]) == (504, "the container was lost")


@pytest.mark.parametrize(("path", "body"), BODIES)
async def test_a_reply_that_would_come_after_its_client_left_is_504(client, monkeypatch, path, body):
    """Clients wait ten seconds past the limits; here the service's own bound is made short."""
    monkeypatch.setattr(wire_routes, "LATEST_S", -0.99)
    gone = asyncio.Event()

    async def run(*given, **named):
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()

    replace_runs(monkeypatch, run)
    limits = {"run_timeout": 1, "compile_timeout": 0, "total_timeout": 1}
    response = await client.post(path, json={**body, **limits})
    assert response.status_code == 504
    assert "no reply within 0.01 seconds" in response.text
    assert gone.is_set(), "the run went on"


async def test_waiting_and_running_together_stay_within_what_clients_wait(client, monkeypatch):
    seen = {}

    async def run(*given, patience_s, **named):
        seen["patience_s"] = patience_s
        raise PoolFull("full")

    replace_runs(monkeypatch, run)
    await client.post("/run_code", json={"code": "", "language": "python", "compile_timeout": 3, "run_timeout": 5})
    assert seen["patience_s"] + 5 + 1 < 3 + 5 + 10
    await client.post("/run_jupyter", json={"cells": ["1"], "total_timeout": 5})
    assert seen["patience_s"] + 5 + 1 < 5 + 10


ELSEWHERE = [name for name in get_args(Language) if name not in {"python", "bash", "pytest"}]


def test_every_language_of_the_original_is_known():
    assert len(ELSEWHERE) == 26


@pytest.mark.parametrize("language", ELSEWHERE)
async def test_a_language_that_is_not_run_here_says_so_in_the_same_shape(client, language):
    response = await client.post("/run_code", json={"code": "x", "language": language})
    assert response.status_code == 200
    assert response.json() == {
        "status": "SandboxError",
        "message": f"language '{language}': this service runs python, bash, pytest only",
        "compile_result": None,
        "run_result": None,
        "executor_pod_name": None,
        "files": {},
    }


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/run_code", {"language": "python"}, "code"),
        ("/run_code", {"code": "1"}, "language"),
        ("/run_code", {"code": "1", "language": "klingon"}, "language"),
        ("/run_code", {"code": "1", "language": "python", "run_timeout": 0}, "run_timeout"),
        ("/run_code", {"code": "1", "language": "python", "run_timeout": "soon"}, "run_timeout"),
        ("/run_code", {"code": "1", "language": "python", "compile_timeout": 1e308}, "compile_timeout"),
        ("/run_jupyter", {}, "cells"),
        ("/run_jupyter", {"cells": ["1"], "kernel": "ir"}, "kernel"),
    ],
)
async def test_a_request_of_another_shape_is_422_as_fastapi_tells_it(client, path, body, field):
    response = await client.post(path, json=body)
    assert response.status_code == 422
    (fault,) = response.json()["detail"]
    assert fault["loc"] == ["body", field]
    assert set(fault) == {"type", "loc", "msg"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"files": {"../up": "eA=="}}, "file '../up': a relative path"),
        ({"files": {"/etc/x": "eA=="}}, "file '/etc/x': a relative path"),
        ({"files": {"x": "not base64!"}}, "file x: not base64"),
        ({"fetch_files": ["../../etc/passwd"]}, "file '../../etc/passwd': a relative path"),
        ({"fetch_files": ["a/../b"]}, "file 'a/../b': a relative path"),
        ({"run_timeout": 61}, "timeout: 61.0 is not between 0 and 60 seconds"),
        ({"args": ["-k", "x"]}, "args: this service takes no arguments for pytest"),
    ],
)
async def test_what_cannot_run_as_it_is_says_what_to_change_and_runs_nothing(client, monkeypatch, body, message):
    async def run(*given, **named):
        pytest.fail("it ran")

    replace_runs(monkeypatch, run)
    response = await client.post("/run_code", json={"code": "1", "language": "python", **body})
    assert response.status_code == 200
    assert response.json()["status"] == "SandboxError"
    assert response.json()["message"].startswith(message)
    assert response.json()["run_result"] is None


async def test_without_an_engine_the_reason_is_503_and_not_asked_again():
    app = build_app(ServiceSettings(), [CodeProvider(CodeSettings())])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://tools") as client:
        for path, body in BODIES:
            response = await client.post(path, json=body)
            assert response.status_code == 503
            assert response.json()["error"]["message"] == "unavailable: the service has not started"


async def test_ping_answers_pong(client):
    response = await client.get("/v1/ping")
    assert (response.status_code, response.content) == (200, b'"pong"')


async def test_calls_of_the_wire_are_counted_like_all_others(client, monkeypatch):
    async def run(*given, **named):
        return CodeAnswer(status="error", exit_code=1), {}, ""

    replace_runs(monkeypatch, run)
    await client.post("/run_code", json={"code": "1", "language": "python"})
    await client.post("/run_code", json={"code": "1", "language": "cpp"})
    measured = (await client.get("/metrics")).text
    assert 'toolsandbox_calls_total{status="error",tool="run_code"} 1.0' in measured
    assert 'toolsandbox_calls_total{status="rejected",tool="run_code"} 1.0' in measured
