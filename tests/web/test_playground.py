"""The playground: forms from the tools' own schemas, real calls, and answers that are data whatever they hold."""

import html
import json
import re

import pytest
from law_rows import ROWS, write_corpus
from tool_service import ToolService, answer_with, find_dead_address, point_platform_at

from chanote.tools.models import ToolCall
from chanote.tools.services import save_toolset

pytestmark = pytest.mark.django_db
PAGE = "/p/law/tools/-/playground/"
EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m\x00"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tools")
    started = ToolService(folder, write_corpus(folder / "laws.jsonl"))
    yield started.start()
    started.stop()


@pytest.fixture
def reached(settings, service):
    point_platform_at(settings, service.address, token_file=service.token_file)
    return service


@pytest.fixture
def client(researcher, client_of):
    return client_of(researcher)


def show(answer) -> str:
    """The page as it reads, without tags."""
    return html.unescape(re.sub(r"<[^>]+>", " ", answer.content.decode()))


def test_the_form_is_made_from_the_tools_own_schema(reached, client):
    page = client.get(PAGE).content.decode()
    assert 'name="a.query"' in page
    assert 'name="a.top_k"' in page
    assert 'inputmode="numeric"' in page
    assert "How many sections to return, 1 to 50." in page
    tests = client.get(PAGE, {"tool": "run_tests"}).content.decode()
    assert tests.count("<textarea") == 2
    assert "a.code" in tests
    assert "a.tests" in tests


def test_a_search_shows_status_times_and_text(reached, client):
    page = show(client.post(PAGE, {"tool": "search_law", "a.query": "มาตรา 10 แห่งประมวลรัษฎากร", "a.top_k": "2"}))
    assert "OK" in page
    assert "Time of the call" in page
    assert ROWS[1][2] in page
    assert "มาตรา 10 แห่งประมวลรัษฎากร" in page, "what was typed is gone"


def test_htmx_gets_the_answer_alone(reached, client):
    answer = client.post(PAGE, {"tool": "read_law", "a.law_name": "nobody"}, headers={"HX-Request": "true"})
    assert b"<form" not in answer.content
    assert "Error" in show(answer)
    assert "No law is named" in show(answer)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tool": "search_law"}, "Write the query."),
        ({"tool": "search_law", "a.query": "x", "a.top_k": "two"}, "must be a whole number."),
        ({"tool": "search_law", "a.query": "x", "a.top_k": "51"}, "is above 50, the limit here."),
        ({"tool": "search_law", "a.query": "x" * 200_001}, "has 200,001 characters; at most 200,000 are sent."),
    ],
)
def test_what_cannot_be_sent_is_said_at_its_field(reached, client, given, words):
    answer = client.post(PAGE, given)
    assert answer.status_code == 422
    assert words in " ".join(show(answer).split())
    assert 'aria-invalid="true"' in answer.content.decode()
    by_htmx = client.post(PAGE, given, headers={"HX-Request": "true"})
    assert by_htmx.status_code == 200, "htmx would drop the sentence"
    assert words in " ".join(show(by_htmx).split())


def test_the_tool_judges_its_arguments_itself(reached, client):
    page = show(client.post(PAGE, {"tool": "search_law", "a.query": "x", "a.top_k": "0"}))
    assert "Rejected" in page
    assert "greater than or equal to 1" in page


def test_code_without_an_engine_is_unavailable_before_and_after_the_call(reached, client):
    before = show(client.get(PAGE, {"tool": "run_python"}))
    assert "It does not run now." in before
    assert "“unavailable: no container engine" in before
    after = show(client.post(PAGE, {"tool": "run_python", "a.code": "print(1)"}))
    assert "run_python answers “unavailable: no container engine" in after


def test_a_service_that_is_down_leaves_a_page_with_the_way_out(settings, client):
    point_platform_at(settings, find_dead_address())
    page = show(client.get(PAGE))
    assert "cannot be reached" in page
    assert "No tool to try" in page
    assert client.post(PAGE, {"tool": "search_law", "a.query": "x"}).status_code == 200


def test_an_answer_is_never_html(settings, client):
    function = {
        "name": "evil",
        "description": EVIL,
        "parameters": {"properties": {"q": {"type": "string", "description": EVIL}}},
    }
    reply = {"id": "1", "tool": "evil", "result": {"status": "error", "text": EVIL, "hits": [EVIL]}}
    replies = {
        "/readyz": (200, json.dumps({"parts": {"Laws": {"ready": True, "facts": {"corpus_hash": EVIL}}}}).encode()),
        "/v1/tools": (200, json.dumps({"tools": [{"function": function}]}).encode()),
        "/v1/tools/evil": (200, json.dumps(reply).encode()),
    }
    with answer_with(replies) as (address, _):
        point_platform_at(settings, address)
        pages = [
            client.get(PAGE),
            client.post(PAGE, {"tool": "evil", "a.q": EVIL}),
            client.get("/p/law/"),
            client.get("/p/law/tools/"),
        ]
    for page in pages:
        assert page.status_code == 200
        assert b"<script>alert" not in page.content
        assert b"<img src=x" not in page.content
    assert b"&lt;script&gt;alert(1)" in pages[1].content


def test_an_answer_of_megabytes_is_cut_and_counted(settings, client):
    function = {"name": "loud", "parameters": {"properties": {}}}
    reply = {"id": "1", "tool": "loud", "result": {"status": "ok", "text": "ก" * 2_000_000}}
    replies = {
        "/readyz": (200, b'{"parts": {}}'),
        "/v1/tools": (200, json.dumps({"tools": [{"function": function}]}).encode()),
        "/v1/tools/loud": (200, json.dumps(reply, ensure_ascii=False).encode()),
    }
    with answer_with(replies) as (address, _):
        point_platform_at(settings, address)
        answer = client.post(PAGE, {"tool": "loud"})
    assert len(answer.content) < 250_000
    assert "1,960,000 more characters are not shown." in show(answer)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((429, b'{"error": {"code": "overloaded", "message": "the queue is full"}}'), "is full (the queue is full)"),
        (
            (500, b'{"error": {"code": "internal", "message": "the service failed"}}'),
            "refused the call with status 500",
        ),
        ((200, b'{"hello": 1}'), "is no reply of a tool"),
        ((200, b"nonsense"), "is no tool service"),
    ],
)
def test_a_call_that_brings_no_answer_is_told_in_a_sentence(settings, client, reply, words):
    replies = {
        "/readyz": (200, b'{"parts": {}}'),
        "/v1/tools": (200, json.dumps({"tools": [{"function": {"name": "t", "parameters": {}}}]}).encode()),
        "/v1/tools/t": reply,
    }
    with answer_with(replies) as (address, _):
        point_platform_at(settings, address)
        assert words in show(client.post(PAGE, {"tool": "t"}))


def test_a_kept_session_is_one_persons_in_one_project(settings, project, researcher, project_admin, client_of):
    function = {"name": "run_python", "parameters": {"properties": {"code": {"type": "string"}}, "required": ["code"]}}
    reply = {"id": "1", "tool": "run_python", "result": {"status": "ok", "text": "1"}}
    replies = {
        "/readyz": (200, b'{"parts": {}}'),
        "/v1/tools": (200, json.dumps({"tools": [{"function": function}]}).encode()),
        "/v1/tools/run_python": (200, json.dumps(reply).encode()),
    }
    given = {"tool": "run_python", "a.code": "print(1)"}
    with answer_with(replies) as (address, seen):
        point_platform_at(settings, address)
        for user, keep in (
            (researcher, {"keep": "on"}),
            (researcher, {"keep": "on"}),
            (project_admin, {"keep": "on"}),
            (researcher, {}),
        ):
            client_of(user).post(PAGE, {**given, **keep})
    sessions = [json.loads(body).get("session") for path, _, body in seen if path == "/v1/tools/run_python"]
    assert sessions[0] == sessions[1] != sessions[2]
    assert sessions[3] is None
    assert researcher.username not in sessions[0]


def test_a_toolset_limits_tools_and_arguments(reached, project, researcher, client):
    save_toolset(project=project, slug="code", tools=["run_python"], author=researcher, limits={"call_seconds": 3})
    page = client.get(PAGE, {"toolset": "code"}).content.decode()
    assert "a.code" in page
    assert "search_law" not in page
    assert "Within the limits of code@1: 3 s" in page
    assert client.get(PAGE, {"toolset": "code@9"}).status_code == 404


def test_a_viewer_looks_and_does_not_call(reached, viewer, client_of):
    client = client_of(viewer)
    assert "Your role here looks on" in show(client.get(PAGE))
    assert client.post(PAGE, {"tool": "search_law", "a.query": "x"}).status_code == 403


def test_a_call_is_kept_nowhere(reached, client):
    client.post(PAGE, {"tool": "search_law", "a.query": "x"})
    assert not ToolCall.objects.exists()
