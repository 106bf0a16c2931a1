"""The code tools over HTTP and MCP on the real engine: calls, retries, sessions, files, verifiers, measures."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.sandbox_app import OpenService, open_service
from tests.sandbox_engine import IMAGE, SOCKET, list_left, open_workshop
from toolsandbox.contract import CodeReply, TestsReply, VerifyReply

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]
REPOSITORY = Path(__file__).resolve().parents[2]
ONE, TWO = "token-of-one-0123456789", "token-of-two-0123456789"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenService]:
    tokens = tmp_path_factory.mktemp("tokens") / "tokens"
    tokens.touch(mode=0o600)
    tokens.write_text(f"one:{ONE}\ntwo:{TWO}\n")
    async with open_service("tools", token_file=tokens, warm=2, most_containers=6, most_sessions_each=3) as opened:
        opened.client.headers["Authorization"] = f"Bearer {ONE}"
        yield opened
    assert await list_left("tools") == []


async def call(service: OpenService, tool: str, arguments: dict | str, *, token: str = ONE, **rest: object) -> dict:
    response = await service.client.post(
        f"/v1/tools/{tool}",
        json={"arguments": arguments, **rest},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert response.status_code == 200, response.text
    return response.json()["result"]


async def end(service: OpenService, session: str) -> None:
    assert (await service.client.delete(f"/v1/sessions/{session}")).status_code == 200


# ---- calls ----


async def test_a_program_answers_by_the_contracts_own_type(service):
    result = await call(service, "run_python", {"code": "import sys\nprint(6 * 7)\nprint('hm', file=sys.stderr)"})
    reply = CodeReply.model_validate(result)
    assert (reply.status, reply.text) == ("ok", "42\nhm")
    assert (reply.detail.stdout, reply.detail.stderr, reply.detail.exit_code) == ("42\n", "hm\n", 0)
    assert re.fullmatch("sha256:[0-9a-f]{64}", reply.detail.image_digest)
    assert reply.detail.policy_digest


async def test_tests_are_judged_and_only_then_counted(service):
    tests = "assert double(2) == 4\nassert double(3) == 7"
    result = await call(service, "run_tests", {"code": "def double(n): return 2 * n", "tests": tests})
    reply = TestsReply.model_validate(result)
    assert (reply.status, reply.detail.passed, reply.detail.total) == ("ok", 1, 2)
    assert reply.text == "1 of 2 tests passed\nfailed: double(3) == 7 (another value)"
    shown = await call(service, "run_tests", {"code": "x = 1", "tests": "assert x > 0"})
    assert (shown["status"], shown["detail"]["fault"]) == ("rejected", "tests")
    large = await call(service, "run_tests", {"code": "#" * (1 << 20), "tests": "assert f() == 1"})
    assert (large["status"], large["detail"]["fault"]) == ("rejected", "code")


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("run_python", "{not json", "the arguments are not valid JSON"),
        ("run_python", {}, "argument 'code' is missing"),
        ("run_python", {"code": "1", "image": "evil"}, "there is no argument 'image'"),
        ("run_python", {"code": "1", "timeout_s": 0}, "argument 'timeout_s': input should be greater than 0"),
        ("run_python", {"code": "1", "timeout_s": 1e9}, "timeout: 1000000000.0 is not between 0 and 60 seconds"),
        ("run_tests", {"code": "1"}, "argument 'tests' is missing"),
    ],
)
async def test_arguments_that_do_not_fit_are_told_what_would(service, tool, arguments, told):
    result = await call(service, tool, arguments)
    assert result["status"] == "rejected"
    assert told in result["text"]


async def test_every_tool_is_a_function_with_flat_scalar_arguments(service):
    listed = (await service.client.get("/v1/tools")).json()["tools"]
    functions = {each["function"]["name"]: each["function"]["parameters"] for each in listed}
    assert {name: found["required"] for name, found in functions.items()} == {
        "run_python": ["code"],
        "run_tests": ["code", "tests"],
    }
    for found in functions.values():
        for fact in found["properties"].values():
            assert fact["type"] in {"string", "number"}
            assert fact["description"]


# ---- the same call again ----


async def test_a_retried_call_of_a_session_runs_once(service):
    count = "n = globals().get('n', 0) + 1\nprint(n)"
    asked = {"arguments": {"code": count}, "session": "retried", "idempotency_key": "first"}
    first, again = await asyncio.gather(*(service.client.post("/v1/tools/run_python", json=asked) for _ in range(2)))
    assert first.json() == again.json()
    assert (await service.client.post("/v1/tools/run_python", json=asked)).json() == first.json()
    result = await call(service, "run_python", {"code": count}, session="retried", idempotency_key="second")
    assert result["detail"]["stdout"] == "2\n", "the first call ran more than once"
    await end(service, "retried")


async def test_a_client_that_goes_away_frees_its_container(service):
    workshop = service.provider.require_workshop()
    gone = asyncio.create_task(call(service, "run_python", {"code": "import time; time.sleep(10**6)"}))
    while not workshop.pool.leased:
        await asyncio.sleep(0.01)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    async with asyncio.timeout(60):
        while workshop.pool.leased:
            await asyncio.sleep(0.01)


# ---- sessions and tenants ----


async def test_a_session_belongs_to_its_tenant(service):
    await call(service, "run_python", {"code": "secret = 5"}, session="mine")
    assert "NameError" in (await call(service, "run_python", {"code": "secret"}, session="mine", token=TWO))["text"]
    await service.client.put("/v1/sessions/mine/files/kept", content=b"of one")
    other = {"Authorization": f"Bearer {TWO}"}
    assert (await service.client.get("/v1/sessions/mine/files/kept", headers=other)).status_code == 404
    assert (await service.client.get("/v1/sessions/guessed/files/kept")).status_code == 404
    assert (await service.client.get("/v1/sessions/mine/files/kept", headers={"Authorization": ""})).status_code == 401
    assert (await service.client.delete("/v1/sessions/mine", headers=other)).status_code == 200
    assert (await service.client.get("/v1/sessions/mine/files/kept")).content == b"of one"
    await end(service, "mine")


async def test_a_tenant_has_so_many_sessions_and_another_still_gets_its_own(service):
    for number in range(3):
        await call(service, "run_python", {"code": "1"}, session=f"s{number}")
    asked = {"arguments": {"code": "1"}, "session": "one too many"}
    refused = await service.client.post("/v1/tools/run_python", json=asked)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert refused.json()["error"]["message"].startswith("3 sessions are open, as many as one tenant may have")
    assert (await call(service, "run_python", {"code": "print(1)"}, session="s0", token=TWO))["status"] == "ok"
    assert (await call(service, "run_python", {"code": "print(1)"}))["status"] == "ok"
    for number in range(3):
        await end(service, f"s{number}")
    assert (await service.client.delete("/v1/sessions/s0", headers={"Authorization": f"Bearer {TWO}"})).is_success


async def test_a_tenants_flood_does_not_keep_another_waiting(service):
    """Sixteen calls of one are on the way when the other's comes; it is among the next."""
    done: list[str] = []

    async def run(tenant: str, token: str) -> None:
        result = await call(service, "run_python", {"code": "print(1)"}, token=token)
        assert result["status"] == "ok"
        done.append(tenant)

    workshop = service.provider.require_workshop()
    flood = [asyncio.create_task(run("one", ONE)) for _ in range(16)]
    while workshop.pool.waiting < 8:
        await asyncio.sleep(0)
    before = len(done)
    await run("two", TWO)
    # Six run in containers, and one more of the flood may be called before it is the other's turn.
    assert done.index("two") - before <= 8
    await asyncio.gather(*flood)


# ---- files ----


async def test_a_file_larger_than_any_body_streams_in_and_out(service):
    size = 20 << 20

    async def pieces():
        for _ in range(size >> 16):
            yield b"z" * (1 << 16)

    path = "/v1/sessions/large/files/in/large.bin"
    put = await service.client.put(path, content=pieces(), headers={"Content-Length": str(size)})
    assert put.status_code == 204, put.text
    seen = await call(
        service, "run_python", {"code": "import os; print(os.stat('/tmp/in/large.bin').st_size)"}, session="large"
    )
    assert seen["detail"]["stdout"] == f"{size}\n"
    length = 0
    async with service.client.stream("GET", path) as got:
        assert got.status_code == 200
        async for piece in got.aiter_bytes():
            assert piece.count(b"z") == len(piece)
            length += len(piece)
    assert length == size
    await end(service, "large")


@pytest.mark.parametrize("path", ["..%2f..%2fetc%2fpasswd", "a//b", "%2fetc%2fpasswd", "a%00b", "x" * 300, "%2e%2e"])
async def test_a_path_that_leads_elsewhere_is_400_or_404(service, path):
    put = await service.client.put(f"/v1/sessions/odd/files/{path}", content=b"x")
    assert put.status_code in {400, 404, 405}, put.text
    assert (await service.client.get(f"/v1/sessions/odd/files/{path}")).status_code in {400, 404, 405}


async def test_an_upload_that_stops_in_the_middle_leaves_no_container_that_takes_calls_for_bytes(service):
    await call(service, "run_python", {"code": "x = 1"}, session="half")
    pieces = [
        {"type": "http.request", "body": b"half", "more_body": True},
        {"type": "http.disconnect"},
    ]
    path = "/v1/sessions/half/files/a"
    headers = [(b"content-length", b"8"), (b"authorization", f"Bearer {ONE}".encode())]
    scope = {"type": "http", "method": "PUT", "path": path, "headers": headers, "query_string": b"", "asgi": {}}

    async def receive():
        return pieces.pop(0)

    async def send(message):
        pass

    await service.app(scope, receive, send)
    assert pieces == []
    assert (await call(service, "run_python", {"code": "print(7)"}, session="half"))["text"] == "7"
    await end(service, "half")


async def test_a_file_without_a_length_is_411(service):
    async def pieces():
        yield b"x"

    assert (await service.client.put("/v1/sessions/half/files/a", content=pieces())).status_code == 411


# ---- verifiers ----

LENGTH = "def evaluate(text):\n    return len(text.split()) <= 3"


def verifier(name: str, source: str, **facts: object) -> dict:
    return {"name": name, "source": source, "good": [["one two"]], "bad": [["one two three four"]], **facts}


async def verify(service: OpenService, verifiers: list[dict], calls: list[tuple[str, object]], **rest) -> VerifyReply:
    asked = [{"verifier": name, "arguments": [text]} for name, text in calls]
    response = await service.client.post("/v1/verifiers", json={"verifiers": verifiers, "calls": asked, **rest})
    assert response.status_code == 200, response.text
    return VerifyReply.model_validate_json(response.content)


async def test_an_admitted_verifier_judges_and_one_that_cannot_tell_is_never_asked(service):
    verifiers = [
        verifier("length", LENGTH),
        verifier("always", "def evaluate(text):\n    return True"),
        verifier("never", "def evaluate(text):\n    return False"),
    ]
    calls = [("length", "a b c"), ("always", "x"), ("length", "a b c d"), ("never", "x")]
    reply = await verify(service, verifiers, calls)
    assert (reply.status, reply.retryable) == ("ok", False)
    assert [(each.name, each.admitted, each.reason) for each in reply.verifiers] == [
        ("length", True, ""),
        ("always", False, "bad[0]: it answered True, not False"),
        ("never", False, "good[0]: it answered False, not True"),
    ]
    assert [(each.status, each.passed) for each in reply.verdicts] == [
        ("ok", True),
        ("rejected", None),
        ("ok", False),
        ("rejected", None),
    ]
    assert reply.verdicts[1].detail == "the verifier was not admitted: bad[0]: it answered True, not False"


HOSTILE = {
    "truthy": ("return 1 if short else 0", "good[0]: it answered 1, not True"),
    "words": ("return 'yes' if short else ''", "good[0]: it answered 'yes', not True"),
    "list": ("return [short]", "good[0]: it answered [True], not True"),
    "not a number": ("return float('nan') if short else False", "finite"),
    "huge": ("return 10 ** 5000", "4096 bits"),
    "generator": ("yield True", "generator"),
    "no truth": (
        "class No:\n    def __bool__(self): raise RuntimeError\nreturn No()",
        "the value is a No, not plain JSON",
    ),
    "equal to all": ("class Any(int):\n    def __eq__(self, other): return True\nreturn Any(1)", "is a Any"),
    "raises": ("raise SystemExit(0)", "SystemExit"),
    "exits": ("import os; os._exit(0)", "error"),
    "sleeps": ("import time; time.sleep(10**6)", "timeout"),
    "tosses": ("import random; return random.random() < 0.5", "it answered"),
    "reads the clock": ("import time; return int(time.time() * 1e6) % 2 == 0", "it answered"),
}


async def test_a_verifier_that_is_strange_is_not_admitted_and_says_why(service):
    def write(body: str) -> str:
        lines = "\n".join(f"    {line}" for line in body.splitlines())
        return f"def evaluate(text):\n    short = len(text.split()) <= 3\n{lines}"

    coins = {"tosses", "reads the clock"}
    # Coins get examples enough that no lucky run admits them: one in 2 ** 64 does.
    many = {"good": [["one"]] * 16, "bad": [["one two three four"]] * 16}
    verifiers = [verifier(name, write(body), **(many if name in coins else {})) for name, (body, _) in HOSTILE.items()]
    reply = await verify(service, verifiers, [(name, "one") for name in HOSTILE], timeout_s=2)
    for report in reply.verifiers:
        assert report.admitted is False, report
        assert HOSTILE[report.name][1] in report.reason
    assert {(verdict.status, verdict.passed) for verdict in reply.verdicts} == {("rejected", None)}


async def test_a_verifier_that_prints_or_changes_what_it_was_given_judges_all_the_same(service):
    loud = "def evaluate(text):\n    print('True' * 10000)\n    import sys; sys.stderr.write('x' * 100000)\n    " + (
        "return len(text.split()) <= 3"
    )
    changing = "def evaluate(words):\n    short = len(words) <= 3\n    words.clear()\n    return short"
    lists = {"good": [[["a"]]], "bad": [[["a", "b", "c", "d"]]]}
    reply = await verify(
        service,
        [verifier("loud", loud), verifier("changing", changing, **lists)],
        [("loud", "a"), ("changing", ["a"] * 4), ("changing", ["a"] * 4), ("loud", "a b c d")],
    )
    assert [verdict.passed for verdict in reply.verdicts] == [True, False, False, False]


async def test_an_admitted_verifier_that_fails_on_an_answer_gives_no_verdict(service):
    source = (
        "def evaluate(text):\n    if text == 'slow':\n        while True: pass\n"
        "    if text == 'odd':\n        return 'maybe'\n    return len(text.split()) <= 3"
    )
    calls = [("v", "slow"), ("v", "odd"), ("v", 5), ("v", "fine")]
    reply = await verify(service, [verifier("v", source)], calls, timeout_s=2)
    assert reply.status == "ok"
    found = [(verdict.status, verdict.passed) for verdict in reply.verdicts]
    assert found[1:] == [("error", None), ("error", None), ("ok", True)]
    assert found[0][0] in {"timeout", "error"}
    assert found[0][1] is None
    assert reply.verdicts[1].detail == "it answered 'maybe', neither True nor False"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"verifiers": []}, "verifiers: List should have at least 1 item"),
        ({"verifiers": [verifier("a", LENGTH, good=[])]}, "verifiers.0.good: List should have at least 1 item"),
        ({"verifiers": [verifier("a", LENGTH)] * 2}, "two have the same name"),
        (
            {"verifiers": [verifier("a", LENGTH)], "calls": [{"verifier": "b", "arguments": []}]},
            "calls[0].verifier: there is no verifier 'b'",
        ),
        ({"verifiers": [verifier("a", LENGTH, function="os.system('x')")]}, "verifiers.0.function"),
    ],
)
async def test_a_batch_that_is_none_is_400_with_its_field(service, body, told):
    response = await service.client.post("/v1/verifiers", json=body)
    assert response.status_code == 400
    assert told in response.json()["error"]["message"]


# ---- what operators see ----


async def test_measures_tell_of_pools_sessions_statuses_and_waiting(service):
    await call(service, "run_python", {"code": "1 / 0"}, session="measured")
    text = (await service.client.get("/metrics")).text
    measured = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(measured['toolsandbox_calls_total{status="error",tool="run_python"}']) >= 1
    assert float(measured['toolsandbox_containers{state="leased",tier="a"}']) >= 1
    assert measured["toolsandbox_sessions"] == "1.0"
    assert measured['toolsandbox_pool_failing{tier="a"}'] == "0.0"
    assert float(measured['toolsandbox_queue_seconds_count{tool="run_python"}']) >= 1
    assert float(measured['toolsandbox_refused_calls_total{reason="overloaded",tool="run_python"}']) >= 1
    for name in ('toolsandbox_containers{state="warm",tier="b"}', 'toolsandbox_container_waiters{tier="a"}'):
        assert float(measured[name]) >= 0
    await end(service, "measured")
    facts = (await service.client.get("/readyz")).json()["parts"]["CodeProvider"]["facts"]
    assert facts["attacks_held"] >= 40


# ---- MCP ----


async def test_the_official_client_over_http(service):
    import httpx2
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    client = httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=service.app), headers={"Authorization": f"Bearer {ONE}"}, timeout=300
    )
    async with (
        client,
        streamable_http_client("http://127.0.0.1/mcp", http_client=client) as streams,
        ClientSession(*streams) as session,
    ):
        await session.initialize()
        listed = {tool.name: tool for tool in (await session.list_tools()).tools}
        assert set(listed) == {"run_python", "run_tests"}
        assert listed["run_python"].annotations.read_only_hint is False
        kept = await session.call_tool("run_python", {"code": "x = 20"})
        assert kept.is_error is False
        seen = await session.call_tool("run_python", {"code": "print(x + 1)"})
        assert (seen.content[0].text, seen.structured_content["detail"]["stdout"]) == ("21", "21\n")
        failed = await session.call_tool("run_python", {"code": "1 / 0"})
        assert failed.is_error is True
        assert "ZeroDivisionError" in failed.content[0].text
        judged = await session.call_tool("run_tests", {"code": "f = abs", "tests": "assert f(-1) == 1"})
        assert (judged.is_error, judged.content[0].text) == (False, "1 of 1 tests passed")
        wrong = await session.call_tool("run_python", {"cod": "1"})
        assert wrong.is_error is True
        assert "there is no argument 'cod'" in wrong.content[0].text
        assert service.provider.require_workshop().open_sessions == 1
    assert service.provider.require_workshop().open_sessions == 0, "a client that left keeps its container"


async def test_the_official_client_on_standard_input_and_output(tmp_path):
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    settings = tmp_path / "code.toml"
    settings.write_text(
        f"socket = {json.dumps(str(SOCKET))}\nimage = {json.dumps(IMAGE)}\nowner = 'test-stdio'\nwarm = 1\n"
    )
    words = ["-m", "toolsandbox", "stdio", "--code-settings-file", str(settings)]
    started = StdioServerParameters(command=sys.executable, args=words, cwd=REPOSITORY, env=dict(os.environ))
    with (tmp_path / "log").open("w") as log:
        async with stdio_client(started, errlog=log) as streams, ClientSession(*streams) as session:
            await session.initialize()
            assert {tool.name for tool in (await session.list_tools()).tools} == {"run_python", "run_tests"}
            await session.call_tool("run_python", {"code": "x = 20"})
            seen = await session.call_tool("run_python", {"code": "print(x + 1)"})
            failed = await session.call_tool("run_python", {"code": "import sys; sys.exit(3)"})
    assert (seen.content[0].text, seen.is_error) == ("21", False)
    assert (failed.is_error, failed.structured_content["detail"]["exit_code"]) == (True, 3)
    # Its client kills a server that takes seconds to end; what it then leaves, the next one with its owner removes.
    async with open_workshop("stdio", warm=1):
        pass
    assert await list_left("stdio") == []
