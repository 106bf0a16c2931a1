"""Live pages: one task per process reads what changed and fans it out to every open stream.

A stream never touches the database: it takes finished texts from a bounded queue. The number of queries depends on the
number of runs that are watched, not on how many browsers watch them.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_required
from django.db import connections
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from chanote.accounts.models import User
from chanote.runs.changes import Change, Seen, find_changes, look_at
from chanote.runs.models import Run
from chanote.web.caching import answer_unchanged
from chanote.web.numbers import read_key

log = structlog.get_logger(__name__)
POLL_SECONDS = 0.4
PING_SECONDS = 15.0
ACCESS_SECONDS = 30.0
"""Time after which somebody who lost their role stops receiving."""
RETRY_MS = 2000
QUEUE_LENGTH = 64


def write_message(event: str, data: Any, *, identity: int | None = None) -> str:
    """One server-sent event."""
    head = f"id: {identity}\n" if identity is not None else ""
    return f"{head}event: {event}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


@dataclass(eq=False)
class Stream:
    """One open browser connection."""

    run: UUID
    user: int
    texts: asyncio.Queue[str | None] = field(default_factory=lambda: asyncio.Queue(QUEUE_LENGTH))
    """Finished messages; None ends the stream."""
    behind: bool = False
    """Messages were dropped: the browser must fetch everything again."""

    def put(self, text: str | None) -> None:
        """Add a message; when the browser is too slow the oldest goes, and it is told so."""
        while self.texts.full():
            self.texts.get_nowait()
            self.behind = True
        self.texts.put_nowait(text)


class Tailer:
    """Reads changes of all watched runs in one place and gives them to the streams. It lives while streams do."""

    def __init__(self) -> None:
        self.streams: dict[UUID, set[Stream]] = defaultdict(set)
        self.seen: dict[UUID, Seen] = {}
        self.task: asyncio.Task[None] | None = None

    def join(self, stream: Stream, seen: Seen) -> None:
        known = self.seen.setdefault(stream.run, seen)
        self.streams[stream.run].add(stream)
        if known.version > seen.version:
            stream.put(write_message("resync", {}))
        if self.task is None or self.task.done():
            self.task = asyncio.get_running_loop().create_task(self._tail())

    def leave(self, stream: Stream) -> None:
        self.streams[stream.run].discard(stream)
        if not self.streams[stream.run]:
            del self.streams[stream.run]
            self.seen.pop(stream.run, None)

    def count(self) -> int:
        return sum(len(streams) for streams in self.streams.values())

    async def _tail(self) -> None:
        # One thread of its own keeps one database connection, closed when the last stream has gone.
        executor = ThreadPoolExecutor(1, thread_name_prefix="live")
        loop = asyncio.get_running_loop()
        checked = loop.time()
        try:
            while self.streams:
                await asyncio.sleep(POLL_SECONDS)
                if not self.streams:
                    break
                asked = {run: self.seen[run] for run in self.streams}
                try:
                    changes, now = await loop.run_in_executor(executor, _read, find_changes, asked)
                    self._give(changes, now)
                    if loop.time() - checked >= ACCESS_SECONDS:
                        checked = loop.time()
                        pairs = {(stream.user, stream.run) for part in self.streams.values() for stream in part}
                        allowed = await loop.run_in_executor(executor, _read, still_allowed, pairs)
                        self._expel(pairs - allowed)
                except Exception:  # the tailer must outlive a database that is away for a while
                    log.exception("live pages could not read the database")
                    await asyncio.sleep(2)
        finally:
            await loop.run_in_executor(executor, connections.close_all)
            executor.shutdown(wait=False)

    def _give(self, changes: dict[UUID, Change], now: dict[UUID, Seen]) -> None:
        for run, change in changes.items():
            if run not in self.streams:
                continue
            if run in now:
                self.seen[run] = now[run]
            if not change:
                continue
            text = write_message("tick", change.as_dict(), identity=self.seen[run].event)
            for stream in list(self.streams[run]):
                stream.put(text)
                if change.over:
                    stream.put(None)

    def _expel(self, pairs: set[tuple[int, UUID]]) -> None:
        for part in list(self.streams.values()):
            for stream in list(part):
                if (stream.user, stream.run) in pairs:
                    stream.put(write_message("closed", {}))
                    stream.put(None)


TAILER = Tailer()
"""The one of this process."""


def _read(work: Callable[[Any], Any], argument: Any) -> Any:
    for connection in connections.all(initialized_only=True):
        connection.close_if_unusable_or_obsolete()
    return work(argument)


def still_allowed(pairs: set[tuple[int, UUID]]) -> set[tuple[int, UUID]]:
    """Those of (user, run) that may still be seen, by the rule that every page uses."""
    allowed = set()
    runs = {run for _, run in pairs}
    for user in User.objects.filter(pk__in={user for user, _ in pairs}):
        visible = set(Run.objects.visible_to(user).filter(pk__in=runs).values_list("pk", flat=True))
        allowed |= {(one, run) for one, run in pairs if one == user.pk and run in visible}
    return allowed


def find_run(user: Any, project: str, number: int) -> Run:
    """The run if the person may see it; 404 otherwise."""
    runs = Run.objects.visible_to(user).select_related("project")
    return get_object_or_404(runs, project__slug=project, number=number)


@login_required
async def stream(request: HttpRequest, project: str, number: int) -> HttpResponse | StreamingHttpResponse:
    """Server-sent events of one run: `tick` with what changed, `resync`, `closed`; `id` is the last event stored."""
    if request.method != "GET":
        return HttpResponse(status=405, headers={"Allow": "GET"})
    user = await request.auser()
    run, seen, first = await sync_to_async(_open)(user, project, number, _read_cursor(request))
    response = StreamingHttpResponse(
        _send(Stream(run.pk, user.pk or 0), seen, first, ends=not run.is_active), content_type="text/event-stream"
    )
    response["Cache-Control"] = "no-cache, no-transform"
    response["X-Accel-Buffering"] = "no"
    return response


def _read_cursor(request: HttpRequest) -> int:
    """The last event that the browser has: what it repeats after a break, or what the page was made with."""
    text = request.headers.get("Last-Event-ID") or request.GET.get("after", "")
    return read_key(text) or 0


def _open(user: Any, project: str, number: int, after: int) -> tuple[Run, Seen, str]:
    """The run, where it stands, and the first message: all that the browser missed."""
    run = find_run(user, project, number)
    seen = look_at([run.pk])[run.pk]
    return run, seen, write_message("tick", _missed(run, seen, after), identity=seen.event)


def _missed(run: Run, seen: Seen, after: int) -> dict[str, Any]:
    """Everything since event `after`, with the present state. Points are fetched by the page itself."""
    before = Seen(event=min(after, seen.event), points=seen.points, last_steps=seen.last_steps, state=seen.state)
    change = find_changes({run.pk: before})[0][run.pk]
    change.state, change.resync = seen.state, True
    return change.as_dict()


async def _send(stream: Stream, seen: Seen, first: str, *, ends: bool) -> AsyncIterator[str]:
    yield f"retry: {RETRY_MS}\n\n"
    yield first
    if ends:
        yield write_message("tick", {"over": True})
        return
    TAILER.join(stream, seen)
    try:
        while True:
            try:
                text = await asyncio.wait_for(stream.texts.get(), PING_SECONDS)
            except TimeoutError:
                yield ": ping\n\n"
                continue
            if stream.behind:
                stream.behind = False
                yield write_message("resync", {})
            if text is None:
                return
            yield text
    finally:
        TAILER.leave(stream)


@login_required
@require_GET
def now(request: HttpRequest, project: str, number: int) -> HttpResponse:
    """What a stream would have said since event `after`, for browsers whose stream does not get through."""
    run = find_run(request.user, project, number)
    seen = look_at([run.pk])[run.pk]
    answer = _missed(run, seen, _read_cursor(request))
    answer.pop("resync", None)
    answer |= {"cursor": seen.event, "points_stored": sum(seen.points.values()), "over": not run.is_active}
    return answer_unchanged(request, JsonResponse(answer))
