"""The live stream of a run: one reader for all browsers, no more told than the pages show, nothing left behind."""

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext

from chanote.accounts.models import Membership
from chanote.runs import live
from chanote.runs.changes import Seen, find_changes, look_at
from chanote.runs.live import TAILER, Stream, write_message
from chanote.runs.models import Run, State
from tests.run_rows import log_values, make_run, tell

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(project):
    made = make_run(project, step=2)
    log_values(made, {"train/loss": [3.0, 2.0]})
    return made


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(live, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(live, "PING_SECONDS", 0.3)


def parse(text: str) -> tuple[str, Any, str]:
    """Name, data and id of one message."""
    fields = dict(line.split(": ", 1) for line in text.strip().split("\n") if not line.startswith(":"))
    return fields.get("event", ""), json.loads(fields["data"]) if "data" in fields else None, fields.get("id", "")


class Reader:
    """One browser that listens."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self.parts = aiter(response.streaming_content)

    async def next(self, seconds: float = 5) -> str:
        return (await asyncio.wait_for(anext(self.parts), seconds)).decode()

    async def message(self, seconds: float = 5) -> tuple[str, Any, str]:
        """The next message that is neither a ping nor the retry time."""
        while True:
            text = await self.next(seconds)
            if not text.startswith((":", "retry:")):
                return parse(text)

    async def tick_with(self, part: str) -> Any:
        while True:
            name, data, _ = await self.message()
            if name == "tick" and part in data:
                return data

    async def close(self) -> None:
        await self.parts.aclose()


@asynccontextmanager
async def listening(user: Any, *, count: int = 1, url: str = "/p/law/runs/1/live/", **headers: str):
    client = AsyncClient()
    await client.aforce_login(user, backend="django.contrib.auth.backends.ModelBackend")
    readers = [Reader(await client.get(url, headers=headers)) for _ in range(count)]
    try:
        yield readers
    finally:
        for reader in readers:
            await reader.close()
        await settled()


async def settled() -> None:
    """The task has seen that nobody listens any more."""
    while TAILER.task is not None and not TAILER.task.done() and not TAILER.streams:
        await asyncio.sleep(0.01)


async def test_a_new_loss_reaches_the_browser_with_its_step(run, researcher):
    async with listening(researcher) as [reader]:
        assert (await reader.next()).startswith("retry: ")
        name, first, _ = await reader.message()
        assert name == "tick"
        assert first["state"]["texts"]["loss"] == "2.0000"
        await sync_to_async(log_values)(run, {"train/loss": [1.5, 1.25]}, first_step=3)
        data = await reader.tick_with("points")
        assert data["points"] == {"train/loss": [[3, 4], [1.5, 1.25]]}
        assert data["state"]["texts"]["loss"] == "1.2500"


async def test_a_value_that_is_not_finite_travels_as_null(run, researcher):
    async with listening(researcher) as [reader]:
        await reader.message()
        await sync_to_async(log_values)(run, {"train/loss": [float("nan")]}, first_step=3)
        assert (await reader.tick_with("points"))["points"] == {"train/loss": [[3], [None]]}


async def test_an_event_carries_its_id_its_mark_and_the_word_to_reload_lists(run, researcher):
    async with listening(researcher) as [reader]:
        await reader.message()
        event = await sync_to_async(tell)(
            run, "stage_started", stage=1, kind="sft", name="answer", first_step=3, steps=5, notes={}
        )
        name, data, identity = await reader.message()
        assert (name, identity) == ("tick", str(event.pk))
        assert data["marks"] == [{"step": 3, "label": "answer", "kind": "stage"}]
        assert data["reload"] is True


async def test_a_browser_that_comes_back_is_told_what_it_missed(run, researcher):
    first = await sync_to_async(tell)(run, "stage_finished", stage=0, step=1)
    await sync_to_async(tell)(
        run, "checkpoint_saved", stage=0, step=2, path="x", sha256="c" * 64, bytes=1, stage_finished=False
    )
    async with listening(researcher, **{"Last-Event-ID": str(first.pk)}) as [reader]:
        _, data, _ = await reader.message()
        assert [mark["step"] for mark in data["marks"]] == [2]
        assert data["reload"] is True
        assert data["resync"] is True


async def test_an_idle_stream_is_kept_open_by_pings(run, researcher):
    async with listening(researcher) as [reader]:
        await reader.message()
        assert await reader.next() == ": ping\n\n"


async def test_queries_do_not_grow_with_the_number_of_browsers(run, researcher, monkeypatch):
    counted: list[int] = []

    def count(asked):
        with CaptureQueriesContext(connection) as queries:
            answer = find_changes(asked)
        counted.append(len(queries))
        return answer

    monkeypatch.setattr(live, "find_changes", count)
    async with listening(researcher, count=60) as readers:
        for reader in readers:
            await reader.message()
        pending = [asyncio.create_task(reader.tick_with("points")) for reader in readers]
        await asyncio.sleep(0.2)
        assert TAILER.count() == 60
        await sync_to_async(log_values)(run, {"train/loss": [1.0]}, first_step=3)
        answers = await asyncio.gather(*pending)
        assert {answer["points"]["train/loss"][1][0] for answer in answers} == {1.0}
    assert counted
    assert max(counted) <= 5


async def test_nothing_is_left_behind_when_browsers_go(run, researcher):
    async with listening(researcher, count=5) as readers:
        for reader in readers:
            await reader.message()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.message(0.1), 0.1)
    assert TAILER.count() == 0
    assert not TAILER.streams
    assert not TAILER.seen
    assert TAILER.task is not None
    assert TAILER.task.done()


async def test_a_stranger_and_a_visitor_get_no_stream(run, stranger):
    client = AsyncClient()
    assert (await client.get("/p/law/runs/1/live/")).status_code == 302
    await client.aforce_login(stranger, backend="django.contrib.auth.backends.ModelBackend")
    assert (await client.get("/p/law/runs/1/live/")).status_code == 404


async def test_who_loses_the_role_stops_receiving(run, researcher, viewer, monkeypatch):
    monkeypatch.setattr(live, "ACCESS_SECONDS", 0.1)
    async with listening(researcher) as [removed], listening(viewer) as [kept]:
        for reader in (removed, kept):
            await reader.message()
        waiting = asyncio.create_task(kept.tick_with("points"))
        await Membership.objects.filter(user=researcher).adelete()
        name = ""
        while name != "closed":
            name, _, _ = await removed.message()
        with pytest.raises(StopAsyncIteration):
            await removed.next()
        await sync_to_async(log_values)(run, {"train/loss": [1.0]}, first_step=3)
        assert (await waiting)["points"]["train/loss"] == [[3], [1.0]]


async def test_the_stream_of_a_run_that_ends_ends_too(run, researcher):
    async with listening(researcher) as [reader]:
        await reader.message()
        await Run.objects.filter(pk=run.pk).aupdate(state=State.FINISHED)
        data = await reader.tick_with("over")
        assert data["state"]["state"] == "finished"
        with pytest.raises(StopAsyncIteration):
            await reader.next()


async def test_a_run_that_had_ended_is_told_once_and_closed(project, researcher):
    await sync_to_async(make_run)(project, state="finished")
    async with listening(researcher) as [reader]:
        await reader.tick_with("over")
        with pytest.raises(StopAsyncIteration):
            await reader.next()


async def test_the_answer_is_not_held_back_by_a_proxy(run, researcher):
    async with listening(researcher) as [reader]:
        assert reader.response["X-Accel-Buffering"] == "no"
        assert reader.response["Content-Type"] == "text/event-stream"
        assert "no-transform" in reader.response["Cache-Control"]


async def test_a_slow_browser_loses_the_oldest_and_is_told_to_fetch_again(run, researcher):
    stream = Stream(run.pk, researcher.pk)
    for number in range(live.QUEUE_LENGTH + 3):
        stream.put(write_message("tick", number))
    assert stream.behind is True
    assert stream.texts.qsize() == live.QUEUE_LENGTH
    assert parse(stream.texts.get_nowait())[1] == 3
    sent = live._send(Stream(run.pk, researcher.pk), Seen(), write_message("tick", 0), ends=False)
    await anext(sent)
    await anext(sent)
    waiting = asyncio.create_task(anext(sent))
    await asyncio.sleep(0)
    [joined] = TAILER.streams[run.pk]
    for number in range(live.QUEUE_LENGTH + 1):
        joined.put(write_message("tick", number))
    assert parse(await waiting)[0] == "resync"
    await sent.aclose()
    await settled()


def test_points_after_a_resume_are_told_as_a_curve_to_fetch_again(run):
    seen = look_at([run.pk])
    series = run.series.get()
    series.points, series.last_step = 1, 1
    series.save()
    assert find_changes(seen)[0][run.pk].resync is True


def test_many_points_at_once_are_told_as_a_curve_to_fetch_again(run):
    seen = look_at([run.pk])
    log_values(run, {"train/loss": [1.0] * 2500}, first_step=3)
    change = find_changes(seen)[0][run.pk]
    assert change.resync is True
    assert change.points == {}


def test_points_are_told_even_when_their_chunks_were_merged_meanwhile(run):
    for step in range(3, 18):
        log_values(run, {"train/loss": [float(step)]}, first_step=step)
    seen = look_at([run.pk])
    log_values(run, {"train/loss": [18.0]}, first_step=18)
    log_values(run, {"train/loss": [19.0]}, first_step=19)
    assert find_changes(seen)[0][run.pk].points == {"train/loss": [[18, 19], [18.0, 19.0]]}


def test_nothing_new_is_no_message(run):
    seen = look_at([run.pk])
    Run.objects.filter(pk=run.pk).update(notes="x")
    change = find_changes({key: Seen(one.event, one.points, one.last_steps, one.state) for key, one in seen.items()})[0]
    change[run.pk].state = None  # the time spent moves by itself
    assert not change[run.pk]


def test_polling_says_the_same_and_answers_304_until_something_happens(project, researcher, client_of):
    made = make_run(project, state="queued")
    client = client_of(researcher)
    answer = client.get("/p/law/runs/1/live/now/?after=0")
    assert answer.json()["state"]["state"] == "queued"
    again = client.get("/p/law/runs/1/live/now/?after=0", headers={"If-None-Match": answer["ETag"]})
    assert again.status_code == 304
    tell(made, "phase_progressed", stage=0, phase="tokenising", done=1, total=2)
    log_values(made, {"train/loss": [1.0]})
    news = client.get("/p/law/runs/1/live/now/?after=0", headers={"If-None-Match": answer["ETag"]}).json()
    assert news["phase"] == "tokenising 1 of 2"
    assert news["points_stored"] == 1
