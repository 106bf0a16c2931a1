"""The tool service over HTTP: who may call, what a call answers, and what happens to everything else."""

import asyncio
import json
import sys
from pathlib import Path

import httpx
import pytest

from toolsandbox.code.provider import CodeProvider
from toolsandbox.code.settings import CodeSettings
from toolsandbox.contract import CallReply, ReadLaw, ReadReply, ToolReply
from toolsandbox.gate import Gate
from toolsandbox.law.provider import LawTools
from toolsandbox.logs import tell_exception
from toolsandbox.openapi import list_operations
from toolsandbox.replays import Replays
from toolsandbox.service import build_app
from toolsandbox.settings import ServiceSettings, read_tokens
from toolsandbox.tools import Health, Overloaded, Tool, ToolUnavailable


class Echo:
    """One tool that does what its argument says."""

    def __init__(self):
        self.ran = []
        self.go_on = asyncio.Event()

    def tools(self):
        return [Tool("echo", "Says it again.", ReadLaw, ReadReply, self.run)]

    async def run(self, arguments, caller):
        self.ran.append((arguments.law_name, caller.tenant, caller.session))
        match arguments.law_name:
            case "full":
                raise Overloaded("the queue is full", retry_after_s=3)
            case "engine":
                raise ToolUnavailable("no container engine")
            case "bug":
                raise RuntimeError("secret detail")
            case "wait":
                await self.go_on.wait()
            case "infra":
                return ToolReply(status="infra_error", text="the container died", retryable=True)
        return ReadReply(status="ok", answer="found", text=arguments.law_name)

    def routes(self):
        return []

    async def start(self):
        pass

    async def stop(self):
        pass

    def health(self):
        return Health(True, facts={"calls": len(self.ran)})


def open_client(provider, **settings):
    app = build_app(ServiceSettings(**settings), [provider])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://tools")


async def call(client, arguments, **rest):
    return await client.post("/v1/tools/echo", json={"arguments": arguments, **rest})


@pytest.fixture
def echo():
    return Echo()


@pytest.fixture
async def client(echo):
    async with open_client(echo) as client:
        yield client


async def test_a_call_answers_with_one_status_and_the_tools_own_fields(client, echo):
    reply = (await call(client, {"law_name": "hello"}, session="t-1")).json()
    assert reply["tool"] == "echo"
    assert reply["session"] == "t-1"
    assert (reply["result"]["status"], reply["result"]["text"], reply["result"]["answer"]) == ("ok", "hello", "found")
    assert reply["result"]["retryable"] is False
    assert echo.ran == [("hello", "default", "t-1")]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("{not json", "the arguments are not valid JSON"),
        ("[1]", "the arguments must be one JSON object"),
        ("", "argument 'law_name' is missing"),
        ({}, "argument 'law_name' is missing"),
        ({"law_name": 5}, "argument 'law_name': input should be a valid string"),
        ({"law_name": "a", "law": "b"}, "there is no argument 'law'"),
        ("[" * 5000, "the arguments are not valid JSON"),
    ],
)
async def test_arguments_that_do_not_fit_are_told_what_would(client, echo, arguments, told):
    response = await call(client, arguments)
    assert response.status_code == 200
    result = response.json()["result"]
    assert result["status"] == "rejected"
    assert told in result["text"]
    assert '{"law_name": "str"}; optional: section_num' in result["text"]
    assert echo.ran == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[" * 1_000_000,
        b'{"arguments": {"law_name": "\xff"}}',
        b'{"arguments": {"law_name": "\\ud800"}}',
        b'{"arguments": {"law_name": ["nested"]}}',
        b'{"arguments": {}, "image": "evil"}',
        b'{"arguments": {}, "session": ""}',
    ],
)
async def test_a_body_that_is_no_call_is_400_with_one_sentence(client, echo, body):
    response = await client.post("/v1/tools/echo", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "bad_request"
    assert len(response.json()["error"]["message"]) < 300
    assert echo.ran == []


async def test_a_large_body_is_refused_whether_or_not_it_says_its_length(echo):
    async def pieces():
        for _ in range(100):
            yield b" " * 100

    async with open_client(echo, max_body_bytes=1024) as client:
        assert (await client.post("/v1/tools/echo", content=b" " * 1025)).status_code == 413
        assert (await client.post("/v1/tools/echo", content=pieces())).status_code == 413
        assert (await call(client, {"law_name": "x"})).status_code == 200


async def test_what_is_overloaded_or_missing_says_when_to_ask_again(client):
    full = await call(client, {"law_name": "full"})
    assert (full.status_code, full.headers["Retry-After"]) == (429, "3")
    engine = await call(client, {"law_name": "engine"})
    assert (engine.status_code, engine.json()["error"]["message"]) == (503, "no container engine")


async def test_a_bug_answers_500_without_its_details(client):
    response = await call(client, {"law_name": "bug"})
    assert response.status_code == 500
    assert "secret" not in response.text


def test_the_log_of_a_bug_says_where_and_holds_no_values():
    def fail(authorization):
        raise RuntimeError("broken")

    try:
        fail("Bearer secret-token")
    except RuntimeError:
        told = tell_exception(None, "error", {"event": "request_failed", "exc_info": sys.exc_info()})
    assert "secret-token" not in json.dumps(told)
    assert [frame["name"] for frame in told["exception"][0]["frames"]][-1] == "fail"


async def test_an_unknown_tool_is_404_with_those_there_are(client):
    response = await client.post("/v1/tools/rm", json={})
    assert response.status_code == 404
    assert "echo" in response.json()["error"]["message"]


async def test_every_error_has_one_shape(client):
    for response in (
        await client.get("/nowhere"),
        await client.get("/v1/tools/echo"),
        await call(client, {"law_name": "bug"}),
    ):
        assert set(response.json()["error"]) == {"code", "message"}


async def test_tools_are_openai_functions_with_flat_arguments(client):
    (function,) = (await client.get("/v1/tools")).json()["tools"]
    assert function["type"] == "function"
    parameters = function["function"]["parameters"]
    assert parameters["required"] == ["law_name"]
    assert {name: set(found) for name, found in parameters["properties"].items()} == {
        "law_name": {"type", "description"},
        "section_num": {"type", "description"},
    }
    assert parameters["properties"]["section_num"]["type"] == "string"


def test_the_document_describes_every_route_and_no_other():
    """Of all providers together: law and code tools without anything opened."""
    providers = [LawTools(Path("laws.jsonl")), CodeProvider(CodeSettings())]
    app = build_app(ServiceSettings(), providers).app
    served = set(list_operations(app.routes)) - {("/v1/tools/{name}", "post")}
    served |= {(f"/v1/tools/{tool.name}", "post") for provider in providers for tool in provider.tools()}
    document = app.state.service.document
    described = {(path, method) for path, found in document["paths"].items() for method in found}
    assert described == served
    assert len({found["operationId"] for path in document["paths"].values() for found in path.values()}) == len(served)


async def test_openapi_refers_only_to_schemas_it_has(client):
    document = (await client.get("/openapi.json")).json()
    text = json.dumps(document)
    referred = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert referred <= set(document["components"]["schemas"])
    assert "/v1/tools/echo" in document["paths"]


async def test_metrics_count_calls_by_status(client):
    await call(client, {"law_name": "a"})
    await call(client, {})
    text = (await client.get("/metrics")).text
    assert 'toolsandbox_calls_total{status="ok",tool="echo"} 1.0' in text
    assert 'toolsandbox_calls_total{status="rejected",tool="echo"} 1.0' in text


async def test_health_needs_no_call(client):
    assert (await client.get("/livez")).json() == {"status": "live"}
    assert (await client.get("/readyz")).json()["parts"]["Echo"]["ready"] is True


# Who may call


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "tokens"
    path.write_text("# comment\nalice:aaaaaaaaaaaaaaaa\nbbbbbbbbbbbbbbbb\n")
    path.chmod(0o600)
    return path


async def test_a_token_names_the_tenant(echo, token_file):
    async with open_client(echo, host="0.0.0.0", token_file=token_file) as client:  # noqa: S104
        for header in (
            None,
            "Bearer aaaaaaaaaaaaaaa",
            "Basic aaaaaaaaaaaaaaaa",
            "Bearer",
            "Bearer alice:aaaaaaaaaaaaaaaa",
        ):
            headers = {"Authorization": header} if header else {}
            for path in ("/v1/tools", "/metrics", "/readyz", "/openapi.json", "/search", "/nowhere"):
                assert (await client.get(path, headers=headers)).status_code == 401
        assert (await client.get("/livez")).status_code == 200
        client.headers["Authorization"] = "Bearer aaaaaaaaaaaaaaaa"
        await call(client, {"law_name": "x"})
        client.headers["Authorization"] = "bearer bbbbbbbbbbbbbbbb"
        await call(client, {"law_name": "y"})
    assert [tenant for _, tenant, _ in echo.ran] == ["alice", "default"]


def test_a_service_that_others_reach_needs_a_token():
    for host in ("0.0.0.0", "10.0.0.5", "sandbox.example", "::"):  # noqa: S104
        with pytest.raises(ValueError, match="give --token-file"):
            ServiceSettings(host=host)
    for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        assert ServiceSettings(host=host).token_file is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "holds no token"),
        ("short\n", "line 1: a token has at least 16"),
        ("a:" + "x" * 16 + "\n" + "x" * 16, "twice"),
    ],
)
def test_a_bad_token_file_is_refused(token_file, text, fault):
    token_file.write_text(text)
    with pytest.raises(ValueError, match=fault):
        read_tokens(token_file)


def test_a_token_file_that_others_can_read_is_refused(token_file):
    token_file.chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        read_tokens(token_file)


# The same call again


async def test_a_key_runs_a_call_once(client, echo):
    first = await call(client, {"law_name": "a"}, idempotency_key="k")
    again = await call(client, {"law_name": "a"}, idempotency_key="k")
    assert first.json() == again.json()
    assert len(echo.ran) == 1
    other = await call(client, {"law_name": "b"}, idempotency_key="k")
    assert (other.status_code, other.json()["error"]["code"]) == (409, "key_reused")


async def test_a_key_joins_the_call_that_still_runs(client, echo):
    both = asyncio.gather(*(call(client, {"law_name": "wait"}, idempotency_key="k") for _ in range(2)))
    while not echo.ran:
        await asyncio.sleep(0)
    echo.go_on.set()
    first, second = await both
    assert first.json()["id"] == second.json()["id"]
    assert len(echo.ran) == 1


async def test_a_failed_sandbox_is_not_remembered(client, echo):
    for _ in range(2):
        result = (await call(client, {"law_name": "infra"}, idempotency_key="k")).json()["result"]
        assert (result["status"], result["retryable"]) == ("infra_error", True)
    assert len(echo.ran) == 2


async def test_keys_of_two_tenants_are_two_calls(echo, token_file):
    async with open_client(echo, token_file=token_file) as client:
        for token in ("aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"):
            client.headers["Authorization"] = f"Bearer {token}"
            await call(client, {"law_name": "a"}, idempotency_key="k")
    assert len(echo.ran) == 2


async def test_a_caller_that_goes_away_does_not_stop_the_call():
    replays = Replays()
    begun, finish = asyncio.Event(), asyncio.Event()

    async def run():
        begun.set()
        await finish.wait()
        return reply_of("reply")

    gone = asyncio.create_task(replays.once(("t", "echo", "k"), b"", run))
    await begun.wait()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    finish.set()
    kept = asyncio.create_task(replays.once(("t", "echo", "k"), b"", lambda: pytest.fail("ran again")))
    assert (await kept).result.text == "reply"


def reply_of(text):
    return CallReply(id="1", tool="echo", result=ToolReply(status="ok", text=text))


async def test_replies_that_take_much_room_are_kept_less_long():
    replays, ran = Replays(room=1000), []

    async def ask(key, text):
        async def run():
            ran.append(key)
            return reply_of(text)

        await replays.once(("t", "echo", key), b"", run)

    for key in ("a", "b", "c"):
        await ask(key, "x" * 300)
        await settle()
    await ask("c", "")
    assert ran == ["a", "b", "c"]
    await ask("a", "x" * 300)
    assert ran == ["a", "b", "c", "a"], "the oldest made room"


# A bounded queue that is fair


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_tenants_take_turns():
    gate = Gate(running=1, waiting=10)
    order, hold = [], asyncio.Event()

    async def use(tenant, name):
        async with gate.admit(tenant):
            order.append(name)
            await hold.wait()

    names = [("a", "a1"), ("a", "a2"), ("a", "a3"), ("a", "a4"), ("b", "b1"), ("b", "b2")]
    tasks = []
    for tenant, name in names:
        tasks.append(asyncio.create_task(use(tenant, name)))
        await settle()
    assert (gate.in_flight, gate.waiting) == (1, 5)
    hold.set()
    await asyncio.gather(*tasks)
    assert order == ["a1", "a2", "b1", "a3", "b2", "a4"]
    assert (gate.in_flight, gate.waiting) == (0, 0)


async def test_one_tenant_cannot_take_every_place_and_a_full_queue_says_so():
    gate = Gate(running=1, waiting=4)
    hold = asyncio.Event()

    async def use(tenant):
        async with gate.admit(tenant):
            await hold.wait()

    tasks = [asyncio.create_task(use("a")) for _ in range(3)]
    await settle()
    with pytest.raises(Overloaded):
        await use("a")
    tasks += [asyncio.create_task(use("b")) for _ in range(2)]
    await settle()
    with pytest.raises(Overloaded):
        await use("c")
    hold.set()
    await asyncio.gather(*tasks)
    await use("a")


async def test_who_stops_waiting_leaves_no_hole():
    gate = Gate(running=1, waiting=4)
    hold = asyncio.Event()

    async def use():
        async with gate.admit("a"):
            await hold.wait()

    first, second, third = (asyncio.create_task(use()) for _ in range(3))
    await settle()
    assert gate.waiting == 2
    second.cancel()
    await settle()
    assert gate.waiting == 1
    hold.set()
    await asyncio.gather(first, third)
    assert (gate.in_flight, gate.waiting) == (0, 0)
    await use()
