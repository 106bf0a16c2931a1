"""The tools as the official MCP client sees them, over HTTP and over standard input and output."""

import os
import sys
from pathlib import Path

import httpx
import pytest
from law_rows import ROWS, write_corpus
from starlette.testclient import TestClient

from toolsandbox.law.provider import LawTools
from toolsandbox.service import build_app
from toolsandbox.settings import ServiceSettings

REPOSITORY = Path(__file__).resolve().parents[2]
HEADERS = {"Accept": "application/json, text/event-stream", "Host": "127.0.0.1"}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mcp")
    tools = LawTools(write_corpus(folder / "laws.jsonl"), folder=folder / "indexes")
    with TestClient(build_app(ServiceSettings(), [tools]), headers=HEADERS) as client:
        yield client


@pytest.fixture
def ask(client):
    """One initialised MCP session."""
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    opened = post(client, "initialize", hello)
    assert opened.json()["result"]["protocolVersion"] == "2025-06-18"
    session = {"Mcp-Session-Id": opened.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-06-18"}
    noted = client.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=session)
    assert noted.status_code == 202
    return lambda method, params=None: post(client, method, params or {}, headers=session).json()


def post(client, method, params, headers=None) -> httpx.Response:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return client.post("/mcp", json=body, headers=headers or {})


def test_tools_are_listed_with_their_schemas(ask):
    tools = {tool["name"]: tool for tool in ask("tools/list")["result"]["tools"]}
    assert set(tools) == {"search_law", "read_law"}
    assert tools["read_law"]["inputSchema"]["required"] == ["law_name"]
    assert tools["read_law"]["annotations"]["readOnlyHint"] is True


def test_a_call_answers_text_and_structure(ask):
    called = ask("tools/call", {"name": "read_law", "arguments": {"law_name": "ประมวลรัษฎากร", "section_num": "๑๐"}})
    assert called["result"]["content"] == [{"type": "text", "text": ROWS[1][2]}]
    assert called["result"]["isError"] is False
    assert called["result"]["structuredContent"]["answer"] == "found"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"law_name": "กฎหมายดวงจันทร์"}, "No law is named"),
        ({}, "argument 'law_name' is missing"),
        ({"law_name": {"nested": 1}}, "argument 'law_name'"),
    ],
)
def test_a_failure_is_in_the_result_where_the_model_sees_it(ask, arguments, told):
    result = ask("tools/call", {"name": "read_law", "arguments": arguments})["result"]
    assert result["isError"] is True
    assert told in result["content"][0]["text"]


def test_an_unknown_tool_is_an_error_of_the_protocol(ask):
    assert ask("tools/call", {"name": "rm", "arguments": {}})["error"]["code"] == -32602


def test_a_foreign_page_is_refused(client):
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        assert post(client, "initialize", {}, headers=headers).status_code in {403, 421}


async def test_the_official_client_on_standard_input_and_output(tmp_path):
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    words = ["-m", "toolsandbox", "stdio", "--no-code", "--corpus", str(write_corpus(tmp_path / "laws.jsonl"))]
    words += ["--index-folder", str(tmp_path / "indexes")]
    started = StdioServerParameters(command=sys.executable, args=words, cwd=REPOSITORY, env=dict(os.environ))
    with (tmp_path / "log").open("w") as log:
        async with stdio_client(started, errlog=log) as streams, ClientSession(*streams) as session:
            await session.initialize()
            listed = await session.list_tools()
            result = await session.call_tool("search_law", {"query": "มาตรา 10 แห่งประมวลรัษฎากร", "top_k": 1})
    assert [tool.name for tool in listed.tools] == ["search_law", "read_law"]
    assert result.structured_content["hits"][0]["section_num"] == "10"
