"""The calls of a run: stored once, found by filter, and as quick in a log of a hundred thousand as in a short one."""

import csv
import json
import time
from pathlib import Path

import pytest
import zstandard
from django.db import connection
from django.test import Client
from law_rows import write_corpus
from run_rows import make_run
from tool_service import ToolService

from chanote.accounts.services import create_token
from chanote.runs.ingest import apply_effects, ingest_new_lines
from chanote.runs.models import Attempt, RunEvent
from chanote.tools.call_log import CallWish, find_calls, read_call_page
from chanote.tools.calls import KEPT_CHARACTERS, store_calls
from chanote.tools.client import ask
from chanote.tools.endpoints import Endpoint
from chanote.tools.models import ToolCall
from trainer.contract.tool_calls import StoredToolCall

pytestmark = pytest.mark.django_db
PAGE = "/p/law/runs/1/calls/"
API = "/api/v1/projects/law/runs/1/tool-calls/"
STATUSES = ["ok"] * 7 + ["error", "timeout", "rejected"]
TOOLS = ["search_law", "read_law", "run_python"]
EVIL = "<script>alert(1)</script>"


def make_call(number: int, **fields) -> StoredToolCall:
    tool = TOOLS[number % 3]
    return StoredToolCall(
        **{
            "call": f"c{number:07d}",
            "step": number // 100,
            "rollout": f"{number // 4 % 25}.0",
            "turn": number % 4,
            "tool": tool,
            "arguments": json.dumps({"query": f"มาตรา {number}"}, ensure_ascii=False),
            "status": STATUSES[number % 10],
            "wall_ms": number % 50,
            "output": f"Section {number}.",
            "at": 1_790_000_000.0 + number,
        }
        | fields
    )


@pytest.fixture
def run(project):
    return make_run(project, state="finished")


@pytest.fixture
def client(viewer, client_of):
    return client_of(viewer)


@pytest.fixture
def api(researcher):
    _, text = create_token(researcher, "trainer", ["runs:read", "runs:write"], 30)
    return Client(headers={"Authorization": f"Bearer {text}"})


def send(api, calls):
    body = {"calls": [one if isinstance(one, dict) else one.model_dump() for one in calls]}
    return api.post(API, json.dumps(body), content_type="application/json")


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tools")
    started = ToolService(folder, write_corpus(folder / "laws.jsonl"))
    yield started.start()
    started.stop()


def test_real_calls_of_the_real_service_are_sent_and_shown(service, run, api, client):
    endpoint = Endpoint(service.address, service.token_file)
    calls = []
    for turn, (tool, written) in enumerate(
        [
            ("search_law", '{"query": "มาตรา 10 แห่งประมวลรัษฎากร"}'),
            ("read_law", '{"law_name": "nobody"}'),
            ("read_law", "not JSON"),
            ("run_python", '{"code": "print(1)"}'),
        ]
    ):
        reply = ask(endpoint, f"/v1/tools/{tool}", {"arguments": written}, seconds=60)
        result = reply.body.get("result") or {"status": "infra_error", "text": reply.refusal, "wall_ms": 0.0}
        calls.append(
            StoredToolCall(
                call=reply.body.get("id", f"none-{turn}"),
                step=7,
                rollout="3.1",
                turn=turn,
                tool=tool,
                arguments=written,
                status=result["status"],
                wall_ms=result["wall_ms"],
                output=result["text"],
            )
        )
    assert [one.status for one in calls] == ["ok", "error", "rejected", "infra_error"]
    answer = send(api, calls)
    assert (answer.status_code, answer.json()) == (200, {"received": 4})
    page = client.get(PAGE).content.decode()
    assert "เจ้าพนักงานผู้ใดเปิดเผยข้อมูล" in page
    assert "the arguments are not valid JSON" in page
    assert "unavailable: no container engine" in page
    for word in ("OK", "Error", "Rejected", "Sandbox failed"):
        assert word in page
    one = client.get(f"{PAGE}{ToolCall.objects.get(turn=0).pk}/").content.decode()
    assert "เจ้าพนักงานผู้ใดเปิดเผยข้อมูลของผู้เสียภาษี" in one
    assert "Calls of this rollout" in one
    assert "a.query=%E0%B8%A1" in one, "no link to try it again"


def test_sending_again_changes_nothing(run, api):
    calls = [make_call(number) for number in range(3)]
    assert send(api, calls).json() == send(api, calls).json() == {"received": 3}
    send(api, [make_call(1, output="another word")])
    assert [one.output for one in ToolCall.objects.order_by("call")] == ["Section 0.", "Section 1.", "Section 2."]


@pytest.mark.parametrize(
    ("wrong", "status", "words"),
    [
        ({"status": "fine"}, 400, "status"),
        ({"wall_ms": -1}, 400, "wall_ms"),
        ({"call": "x" * 65}, 400, "call"),
        ({"step": None}, 400, "step"),
        ({"tool": ""}, 422, "tool"),
    ],
)
def test_a_bad_call_is_refused_with_its_field_and_nothing_is_stored(run, api, wrong, status, words):
    answer = send(api, [make_call(0), {**make_call(1).model_dump(), **wrong}])
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert not ToolCall.objects.exists()


def test_who_may_not_launch_may_not_send(run, viewer, stranger):
    for user, status in ((viewer, 403), (stranger, 404)):
        _, text = create_token(user, "t", ["runs:read", "runs:write"], 30)
        assert send(Client(headers={"Authorization": f"Bearer {text}"}), [make_call(0)]).status_code == status
    assert not ToolCall.objects.exists()


def test_long_texts_are_kept_up_to_a_length_and_what_they_were_is_told(run, client):
    store_calls(run, [make_call(0, output="ก" * 10_000, arguments="{" * 9_000)])
    stored = ToolCall.objects.get()
    assert (len(stored.output), stored.output_characters) == (KEPT_CHARACTERS, 10_000)
    page = client.get(f"{PAGE}{stored.pk}/").content.decode()
    assert "its first 4,000 of 10,000 characters" in page
    assert "the first 4,000 of 9,000 characters" in page


def test_what_a_policy_wrote_is_data(run, client, api):
    odd = make_call(0, arguments=json.dumps({"query": EVIL + "\0"}), output=f"{EVIL}\0", rollout=EVIL, tool=EVIL)
    lonely = make_call(1, arguments='"\\ud800"')
    assert send(api, [odd, lonely]).status_code == 200
    pages = [client.get(PAGE), *(client.get(f"{PAGE}{call.pk}/") for call in ToolCall.objects.all())]
    for page in pages:
        assert page.status_code == 200
        assert EVIL.encode() not in page.content
    rows = list(csv.reader(b"".join(client.get("/p/law/runs/1/calls.csv").streaming_content).decode().splitlines()))
    assert rows[0][:2] == ["call", "attempt"]


def test_a_formula_is_marked_as_text_in_a_spreadsheet(run, client):
    store_calls(run, [make_call(0, output="=HYPERLINK(1)")])
    assert "'=HYPERLINK(1)" in b"".join(client.get("/p/law/runs/1/calls.csv").streaming_content).decode()


def test_filters_by_tool_status_step_and_rollout(run, client):
    store_calls(run, [make_call(number) for number in range(300)])
    calls = json.loads(
        b"".join(client.get("/p/law/runs/1/calls.json", {"tool": "read_law", "status": "error"}).streaming_content)
    )
    assert {(one["tool"], one["status"]) for one in calls} == {("read_law", "error")}
    assert len(calls) == 10
    page = client.get(PAGE, {"status": "failed"}).content.decode()
    assert "90 of 300 calls" in page
    assert "OK</span>" not in page
    of_rollout = find_calls(run, CallWish(step=1, rollout="3.0"))
    assert [one.turn for one in of_rollout] == [0, 1, 2, 3]
    assert "No call matches" in client.get(PAGE, {"step": "99"}).content.decode()
    assert client.get(PAGE, {"step": "x", "status": "<b>", "before": "9" * 30}).status_code == 200


def test_pages_go_to_the_end_and_back_without_gaps(run):
    store_calls(run, [make_call(number) for number in range(120)])
    calls = find_calls(run, CallWish())
    first = read_call_page(calls)
    second = read_call_page(calls, before=first.older)
    third = read_call_page(calls, before=second.older)
    numbers = [int(one.call[1:]) for page in (first, second, third) for one in page.calls]
    assert numbers == list(range(119, -1, -1))
    assert (first.newer, third.older) == (None, None)
    back = read_call_page(calls, after=third.newer)
    assert [one.pk for one in back.calls] == [one.pk for one in second.calls]
    assert read_call_page(calls, after=second.newer).newer is None


def test_an_empty_log_says_why(run, client, project):
    assert "names no toolset" in client.get(PAGE).content.decode()
    make_run(project, number=2, snapshot={"recipe": {"stages": []}, "toolset": {"name": "laws@1", "tools": []}})
    assert "Rollouts that call laws@1 leave each call here" in client.get("/p/law/runs/2/calls/").content.decode()


def write_events(attempt, *lines):
    directory = Path(attempt.directory)
    (directory / "tool_calls").mkdir(parents=True, exist_ok=True)
    with (directory / "events.jsonl").open("w") as file:
        for seq, event in enumerate(lines):
            file.write(json.dumps({"seq": seq, "at": 1.0, "event": event}) + "\n")


@pytest.fixture
def attempt(project, tmp_path):
    run = make_run(project, state="running")
    attempt = run.attempts.get()
    Attempt.objects.filter(pk=attempt.pk).update(directory=str(tmp_path), fence=1)
    attempt.refresh_from_db()
    return attempt


def stored(path: str, calls: int = 2):
    return {"type": "tool_calls_stored", "stage": 0, "step": 1, "path": path, "calls": calls}


def test_the_trainers_file_is_taken_in_once(attempt, client):
    write_events(attempt, stored("tool_calls/step-1.jsonl.zst"))
    lines = "".join(make_call(number).model_dump_json() + "\n" for number in range(2)).encode()
    (Path(attempt.directory) / "tool_calls/step-1.jsonl.zst").write_bytes(zstandard.compress(lines))
    assert ingest_new_lines(attempt.pk, 1)
    assert apply_effects(attempt.pk, 1) == 1
    Attempt.objects.filter(pk=attempt.pk).update(effects_seq=0)
    apply_effects(attempt.pk, 1)
    assert ToolCall.objects.filter(run=attempt.run, attempt=attempt).count() == 2
    assert "Section 1." in client.get(PAGE).content.decode()


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("../outside.jsonl", None, "leads out of the directory of attempt 1"),
        ("tool_calls/gone.jsonl", None, "cannot be read (No such file or directory)"),
        (
            "tool_calls/a.jsonl",
            b'{"call": "1"}\n',
            "line 1 of tool_calls/a.jsonl is no tool call (step: Field required)",
        ),
        ("tool_calls/a.jsonl", b'{"call"', "breaks off within a line"),
        ("tool_calls/a.jsonl.zst", b"not packed", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_taken_in_is_told_on_the_run_page(attempt, path, content, words):
    write_events(attempt, stored(path))
    if content is not None:
        (Path(attempt.directory) / path).write_bytes(content)
    ingest_new_lines(attempt.pk, 1)
    apply_effects(attempt.pk, 1)
    problem = RunEvent.objects.get(type="ingest_problem").payload["message"]
    assert problem.startswith("Step 1: its tool calls are not all in the log, because")
    assert words in problem


def multiply_calls(times: int) -> None:
    """Double the stored calls so many times, each copy with an identity and a step of its own."""
    names = [field.column for field in ToolCall._meta.concrete_fields if field.name not in ("id", "call", "step")]
    columns = ", ".join(names)
    with connection.cursor() as cursor:
        for round_ in range(times):
            shift = 2**round_
            cursor.execute(
                f"INSERT INTO tools_toolcall (call, step, {columns}) "  # noqa: S608 - names of columns
                f"SELECT call || '-{round_}', step + {shift}, {columns} FROM tools_toolcall ORDER BY id"
            )


def test_a_hundred_thousand_calls_cost_a_page_what_a_hundred_do(run, client, capsys, django_assert_max_num_queries):
    store_calls(run, (make_call(number) for number in range(100)))
    told = []

    def ask_page(query: str) -> None:
        started = time.perf_counter()
        assert client.get(PAGE + query).status_code == 200
        told.append(
            f"{ToolCall.objects.count():>7,} calls, {query or 'all':<32} {1e3 * (time.perf_counter() - started):.0f} ms"
        )

    ask_page("")
    with django_assert_max_num_queries(24) as few:
        client.get(PAGE)
    most = len(few)
    ask_page("")
    multiply_calls(10)
    assert ToolCall.objects.count() == 102_400
    middle = ToolCall.objects.order_by("id")[50_000].pk
    filters = ["", "?tool=read_law", "?status=timeout&tool=run_python", "?step=500&rollout=3.0", "?status=failed"]
    for query in [*filters, f"?before={middle}", f"?tool=read_law&before={middle}"]:
        with django_assert_max_num_queries(most + 1):
            ask_page(query)
    with capsys.disabled():
        print("\n" + "\n".join(told))
    plan = find_calls(run, CallWish(tool="read_law", status="timeout")).order_by("-id").explain()
    assert "tool_call_by_tool_and_status" in plan
    assert "TEMP B-TREE" not in plan, plan
