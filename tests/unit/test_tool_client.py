"""A tool service that hangs, lies, floods or dies: its call fails after so many tries, by no fault of the policy."""

import asyncio
import json
from typing import Any

import pytest

from tests.misbehaving_tools import (
    Behaviour,
    Handler,
    broken,
    busy,
    dead,
    flood,
    good,
    liar,
    nonsense,
    serving,
    silent,
)
from trainer.contract.toolsets import ToolLimits, ToolsetSpec
from trainer.failures import InvalidSpec, RunFailed
from trainer.rollouts.calls import Call
from trainer.rollouts.rollout import ToolResult
from trainer.rollouts.tool_client import KEY_VARIABLE, ToolClient, read_tools


def call(address: str, *, key: str = "", **limits: Any) -> ToolResult:
    async def one() -> ToolResult:
        client = ToolClient(address, ToolLimits(**{"call_seconds": 20.0, **limits}), key=key)
        try:
            return await client.call(Call("search_law", {"query": "12"}), session="s", key="k")
        finally:
            await client.close()

    return asyncio.run(one())


def test_one_call_as_the_service_is_asked_and_answers():
    with serving(good) as (address, seen):
        result = call(address, key="secret")
    assert (result.status, result.text, result.call_id, result.tries) == ("ok", "section 12", "c1", 1)
    assert seen == [
        {
            "path": "/v1/tools/search_law",
            "key": "Bearer secret",
            "arguments": {"query": "12"},
            "session": "s",
            "idempotency_key": "k",
        }
    ]


@pytest.mark.parametrize("fault", [busy, broken, dead, nonsense, liar, flood])
def test_a_fault_that_passes_is_asked_again_under_the_same_key(fault: Behaviour):
    with serving(fault, good) as (address, seen):
        result = call(address)
    assert (result.status, result.tries) == ("ok", 2)
    assert [one["idempotency_key"] for one in seen] == ["k", "k"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (broken, "the container vanished"),
        (dead, "did not answer"),
        (nonsense, "it answered 200 with what is no reply of a tool service"),
        (liar, "no reply of a tool service"),
        (flood, "no reply of a tool service"),
    ],
)
def test_a_fault_that_stays_is_the_services(fault: Behaviour, said: str):
    with serving(fault) as (address, seen):
        result = call(address, retries=1)
    assert result.status == "infra_error"
    assert said in result.text
    assert (result.tries, len(seen)) == (2, 2)


def test_a_busy_service_is_waited_for_as_long_as_a_call_may_take():
    """Being told to come again is no failure: four times busy is more than no retry would forgive."""
    with serving(busy, busy, busy, busy, good) as (address, _):
        result = call(address, retries=0)
    assert (result.status, result.tries) == ("ok", 5)
    with serving(busy) as (address, _):
        result = call(address, retries=0, call_seconds=0.5)
    assert (result.status, result.text) == ("infra_error", "the queue is full")


def test_silence_ends_with_the_time_of_the_call():
    with serving(silent) as (address, _):
        result = call(address, retries=0, call_seconds=0.3)
    assert (result.status, result.text) == ("infra_error", "search_law said nothing within 0.3 s")


def test_what_asking_again_cannot_mend_is_not_asked_again():
    def unknown(handler: Handler) -> None:
        handler.say(404, json.dumps({"error": {"code": "unknown_tool", "message": "no such tool"}}).encode())

    with serving(unknown) as (address, seen):
        result = call(address)
    assert (result.status, result.text, len(seen)) == ("infra_error", "no such tool", 1)


def test_nobody_listens():
    assert "did not answer" in call("http://127.0.0.1:9", retries=0).text


def toolset(address: str, *tools: str) -> ToolsetSpec:
    frozen = [{"name": "search_law", "description": "as frozen"}]
    return ToolsetSpec(name="law@1", tools=list(tools), functions=frozen, address=address)


def list_two(handler: Handler) -> None:
    tools = [
        {"type": "function", "function": {"name": name, "description": "now"}} for name in ("search_law", "read_law")
    ]
    handler.say(200, json.dumps({"tools": tools}).encode())


def test_tools_are_told_as_they_were_frozen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(KEY_VARIABLE, " secret\n")
    with serving(list_two) as (address, _):
        key, functions = read_tools(toolset(address, "read_law", "search_law"))
    assert key == "secret"
    assert [(one["function"]["name"], one["function"]["description"]) for one in functions] == [
        ("read_law", "now"),
        ("search_law", "as frozen"),
    ]


def test_a_tool_that_the_service_has_not_is_named_before_anything_is_trained():
    with (
        serving(list_two) as (address, _),
        pytest.raises(InvalidSpec, match="has no run_python; it has search_law, read_law"),
    ):
        read_tools(toolset(address, "run_python"))


def test_a_service_that_tells_nothing_is_named():
    with serving(nonsense) as (address, _), pytest.raises(RunFailed, match="does not tell its tools"):
        read_tools(toolset(address, "search_law"))


def test_an_episode_that_is_over_gives_its_session_back():
    def ended(handler: Handler) -> None:
        handler.say(404 if handler.path.endswith("gone") else 200, json.dumps({"ended": True}).encode())

    def no_route(handler: Handler) -> None:
        handler.say(404, json.dumps({"error": {"code": "http", "message": "Not Found"}}).encode())

    async def end(address: str, sessions: list[str]) -> None:
        client = ToolClient(address, ToolLimits())
        for session in sessions:
            await client.end(session)
        await client.close()

    with serving(ended) as (address, seen):
        asyncio.run(end(address, ["run 1/a", "gone", "b"]))
    assert [one["path"] for one in seen] == ["/v1/sessions/run%201%2Fa", "/v1/sessions/gone", "/v1/sessions/b"]
    with serving(no_route) as (address, seen):
        asyncio.run(end(address, ["a", "b"]))
    assert [one["path"] for one in seen] == ["/v1/sessions/a"]
    asyncio.run(end("http://127.0.0.1:9", ["a"]))
