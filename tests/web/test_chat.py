"""The chat page: answers stream in, tools are called within the toolset's limits and logged, faults are sentences."""

import asyncio
import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from chat_endpoint import call, make_served, piece, say, serve_answers
from django.test import AsyncClient
from django.utils import timezone
from law_rows import ROWS, write_corpus
from run_rows import make_run
from tool_service import ToolService, find_dead_address, point_platform_at

from chanote.chat import views
from chanote.chat.models import ServedModel
from chanote.runs.models import Checkpoint
from chanote.tools.models import ToolCall, Toolset, ToolsetRevision

pytestmark = pytest.mark.django_db(transaction=True)
EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>"
SEARCH = ("search_law", {"query": "ประมวลรัษฎากร", "top_k": 1})


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tools")
    started = ToolService(folder, write_corpus(folder / "laws.jsonl"), code=False)
    yield started.start()
    started.stop()


@pytest.fixture
def tools(settings, service, project):
    """Makes a toolset with these limits, over whatever laws the service has open."""
    point_platform_at(settings, service.address, token_file=service.token_file)

    def save(**limits: Any) -> str:
        toolset = Toolset.objects.create(project=project, slug="law-tools")
        return ToolsetRevision.objects.create(
            toolset=toolset, number=1, tools=["search_law", "read_law"], limits=limits, sha256="0" * 64
        ).reference

    return save


@pytest.fixture
def person(researcher) -> AsyncClient:
    client = AsyncClient()
    client.force_login(researcher)
    return client


async def ask(client: AsyncClient, served: Any, *messages: Any, **fields: Any) -> tuple[int, list[dict[str, Any]]]:
    """Status, and the events or the refusal."""
    body = {"served": served.pk, "messages": list(messages) or [{"role": "user", "content": "When?"}], **fields}
    reply = await client.post("/p/law/chat/answer/", json.dumps(body), content_type="application/json")
    if not reply.streaming:
        return reply.status_code, [reply.json() if reply.headers["Content-Type"] == "application/json" else {}]
    content = b"".join([part async for part in reply.streaming_content])
    return reply.status_code, [json.loads(line) for line in content.decode().splitlines()]


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in events if one["type"] == kind]


async def test_an_answer_streams_in_and_is_given_back_as_a_message(person, project, tmp_path):
    with serve_answers(say("On day 4.")) as model:
        served = await make_async(project, model.address, tmp_path)
        status, events = await ask(person, served, temperature=0.2)
    assert status == 200
    assert "".join(one["text"] for one in of(events, "text")) == "On day 4."
    assert len(of(events, "text")) == 9
    assert of(events, "message") == [{"type": "message", "message": {"role": "assistant", "content": "On day 4."}}]
    assert events[-1] == {"type": "end", "reason": "answered"}
    assert model.asked[0]["temperature"] == 0.2
    assert "tools" not in model.asked[0]


async def make_async(project: Any, address: str, folder: Any, **fields: Any) -> Any:
    return await sync_to_async(make_served)(project, address, folder, **fields)


async def save_async(tools: Any, **limits: Any) -> str:
    return str(await sync_to_async(tools)(**limits))


async def test_calls_are_made_shown_and_kept_in_the_log_of_the_run(person, project, tmp_path, tools):
    reference = await save_async(tools)
    run = await sync_to_async(make_run)(project, step=4)
    attempt = await run.attempts.afirst()
    checkpoint = await Checkpoint.objects.acreate(
        run=run, attempt=attempt, step=4, stage=0, directory="x", sha256="0" * 64
    )
    with serve_answers(call(SEARCH, ("read_law", {"law_name": "nobody"}), text="I look."), say("Done.")) as model:
        served = await make_async(project, model.address, tmp_path, checkpoint=checkpoint)
        _, events = await ask(person, served, toolset=reference, conversation="abc")
    assert [one["name"] for one in of(events, "call")] == ["search_law", "read_law"]
    results = {one["id"]: one for one in of(events, "result")}
    assert results["call_0"]["status"] == "ok"
    assert ROWS[0][0] in results["call_0"]["output"]
    assert results["call_0"]["ms"] >= 0
    assert results["call_1"]["status"] == "error"
    told = model.asked[0]["tools"]
    assert [one["function"]["name"] for one in told] == ["search_law", "read_law"]
    said = [one for one in model.asked[1]["messages"] if one["role"] == "tool"]
    assert [one["tool_call_id"] for one in said] == ["call_0", "call_1"]
    assert said[0]["content"] == results["call_0"]["output"]
    stored = [one async for one in ToolCall.objects.filter(run=run)]
    assert {(one.tool, one.status, one.step, one.turn) for one in stored} == {
        ("search_law", "ok", 4, 0),
        ("read_law", "error", 4, 0),
    }
    assert all(one.rollout.startswith("chat-") and one.rollout.endswith("-abc") for one in stored)


async def test_the_limits_of_the_toolset_hold(person, project, tmp_path, tools):
    reference = await save_async(tools, turns=2, calls_per_turn=1, output_characters=60, output_cut="middle")
    with serve_answers(call(SEARCH, SEARCH), call(SEARCH)) as model:
        served = await make_async(project, model.address, tmp_path)
        _, events = await ask(person, served, toolset=reference)
    assert [one["status"] for one in sorted(of(events, "result"), key=lambda one: one["id"])] == ["ok", "not_made"]
    said = [one["content"] for one in model.asked[1]["messages"] if one["role"] == "tool"]
    assert said[1] == "Error: not made: a turn may make 1 calls."
    assert "characters left out]\n" in said[0]
    assert events[-1] == {"type": "end", "reason": "turn_limit"}
    assert len(model.asked) == 2


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (("format_disk", {}), "there is no tool 'format_disk'; the tools are: search_law, read_law."),
        (("search_law", "{broken"), "arguments is not a JSON object."),
        (("search_law", "[" * 5000), "arguments is not a JSON object."),
    ],
)
async def test_a_call_that_cannot_be_made_is_told_to_the_model(person, project, tmp_path, tools, made, words):
    reference = await save_async(tools, failed_calls=2)
    with serve_answers(call(made), call(made)) as model:
        served = await make_async(project, model.address, tmp_path)
        _, events = await ask(person, served, toolset=reference)
    assert words in model.asked[1]["messages"][-1]["content"]
    assert events[-1] == {"type": "end", "reason": "failed_calls"}
    assert not await ToolCall.objects.aexists()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((400, b'{"error": {"message": "messages: has 600 tokens and the context is 512"}}'), "the context is 512"),
        ((401, b""), "does not take this installation's key"),
        ((429, b""), "is full; ask again in a moment"),
        ((500, b"<html>"), "The server answered with 500."),
        ([piece({"content": "On"}), None], "broke off in the middle"),
        ([piece({"content": 5})], "cannot be reached any more"),
        ([{"error": {"message": "Nothing can be sampled"}}], "Nothing can be sampled"),
    ],
)
async def test_what_goes_wrong_is_one_sentence(person, project, tmp_path, answer, words):
    with serve_answers(answer) as model:
        served = await make_async(project, model.address, tmp_path)
        status, events = await ask(person, served)
    assert status == 200
    assert events[-1]["type"] == "error"
    assert words in events[-1]["message"]


async def test_a_server_that_is_gone_is_said(person, project, tmp_path):
    served = await make_async(project, find_dead_address(), tmp_path)
    _, events = await ask(person, served)
    assert "start it anew with `chanote serve`" in events[-1]["message"]
    (tmp_path / "key").unlink()
    status, (refusal,) = await ask(person, served)
    assert status == 409
    assert "is no longer served" in refusal["message"]


async def test_a_tool_service_that_is_gone_is_said_at_once(person, project, tmp_path, tools, settings):
    reference = await save_async(tools)
    point_platform_at(settings, find_dead_address())
    with serve_answers() as model:
        served = await make_async(project, model.address, tmp_path)
        status, (refusal,) = await ask(person, served, toolset=reference)
    assert status == 409
    assert "cannot be reached" in refusal["message"]
    status, (refusal,) = await ask(person, served, toolset="nothing")
    assert "is no toolset of this project" in refusal["message"]


async def test_no_more_answers_than_places_are_written_at_a_time(person, project, tmp_path, monkeypatch):
    monkeypatch.setattr(views, "_PLACES", threading.BoundedSemaphore(1))
    with serve_answers(say("one"), say("two")) as model:
        served = await make_async(project, model.address, tmp_path)
        with views._PLACES:
            _, events = await ask(person, served)
            assert events == [{"type": "error", "message": "Many people are asking just now; try again in a moment."}]
        for _ in range(2):
            _, events = await ask(person, served)
            assert events[-1] == {"type": "end", "reason": "answered"}


async def test_a_page_that_goes_away_stops_the_model(person, project, tmp_path):
    never = threading.Event()
    with serve_answers([piece({"content": "On"}), never]) as model:
        served = await make_async(project, model.address, tmp_path)
        body = {"served": served.pk, "messages": [{"role": "user", "content": "x"}]}
        reply = await person.post("/p/law/chat/answer/", json.dumps(body), content_type="application/json")
        parts = aiter(reply.streaming_content)
        while b'"text"' not in await anext(parts):
            pass
        # As the server does it when the browser's connection ends.
        waiting = asyncio.ensure_future(anext(parts))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert await asyncio.to_thread(model.left.wait, 60)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "x"}, "messages"),
        ({"temperature": 9}, "temperature"),
        ({"more": 1}, "more"),
        ({"conversation": "../x"}, "conversation"),
    ],
)
async def test_what_the_page_would_not_send_is_refused(person, project, tmp_path, fields, words):
    served = await make_async(project, find_dead_address(), tmp_path)
    body = {"served": served.pk, "messages": [{"role": "user", "content": "x"}], **fields}
    reply = await person.post("/p/law/chat/answer/", json.dumps(body), content_type="application/json")
    assert reply.status_code == 422
    assert words in reply.json()["message"]


async def test_strangers_see_nothing_and_readers_may_not_ask(project, tmp_path, curator, stranger):
    served = await make_async(project, find_dead_address(), tmp_path)
    client = AsyncClient()
    await client.aforce_login(stranger)
    assert (await client.get("/p/law/chat/")).status_code == 404
    assert (await ask(client, served))[0] == 404
    await client.aforce_login(curator)
    page = (await client.get("/p/law/chat/")).content.decode()
    assert "Your role here looks on" in page
    status, (refusal,) = await ask(client, served)
    assert status == 403
    assert "does not allow you to talk to served models" in refusal["message"]


def test_the_page_offers_what_is_served_and_toolsets(researcher, client_of, project, tmp_path, tools):
    tools()
    client = client_of(researcher)
    empty = client.get("/p/law/chat/").content.decode()
    assert "No checkpoint is served" in empty
    assert "chanote serve RUN@STEP --project law" in empty
    make_served(project, "http://127.0.0.1:1", tmp_path, name=EVIL)
    silent = make_served(project, "http://127.0.0.1:1", tmp_path, name="silent-one")
    ServedModel.objects.filter(pk=silent.pk).update(seen=timezone.now() - timedelta(minutes=2))
    page = client.get("/p/law/chat/").content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert EVIL not in page
    assert "silent-one" not in page
    assert '<option value="law-tools"' in page


def test_a_policy_is_offered_with_the_tools_that_it_was_trained_with(researcher, client_of, project, tmp_path, tools):
    tools()
    Toolset.objects.create(project=project, slug="other-tools")
    run = make_run(project, snapshot={"run": "x", "recipe": {"stages": []}, "toolset": {"name": "law-tools@1"}})
    checkpoint = Checkpoint.objects.create(
        run=run, attempt=run.attempts.first(), step=4, stage=0, directory="x", sha256="0" * 64
    )
    make_served(project, "http://127.0.0.1:1", tmp_path, checkpoint=checkpoint)
    client = client_of(researcher)
    assert '<option value="law-tools" selected' in client.get("/p/law/chat/").content.decode()
    chosen = client.get("/p/law/chat/?toolset=other-tools").content.decode()
    assert '<option value="other-tools" selected' in chosen
    assert '<option value="law-tools" selected' not in chosen
