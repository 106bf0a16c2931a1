"""The chat page: which checkpoints are served, and answers that stream in.

A conversation lives on the page alone; what the platform keeps are the tool calls, in the log of the policy's run.
"""

import asyncio
import json
import secrets
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import structlog
from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from chanote.accounts.models import Project
from chanote.accounts.roles import may, require
from chanote.chat.asking import Asking
from chanote.chat.models import ServedModel
from chanote.chat.playing import Play, Tools
from chanote.tools.calls import store_calls
from chanote.tools.endpoints import find_endpoint
from chanote.tools.freezing import find_differences, find_toolset
from chanote.tools.health import look
from chanote.tools.models import Toolset, ToolsetRevision
from chanote.tools.templatetags.tools import ENDINGS
from chanote.web.projects import get_project
from trainer.contract.tool_calls import StoredToolCall

log = structlog.get_logger(__name__)
MOST_BYTES = 2 << 20
"""Of a conversation."""
AT_ONCE = 32
"""Answers that one process of the web server streams."""
_PLACES = threading.BoundedSemaphore(AT_ONCE)


class Asked(BaseModel):
    """What the page sends."""

    model_config = ConfigDict(extra="forbid")

    served: int = Field(ge=1, lt=2**63)
    toolset: str = Field(default="", max_length=200)
    conversation: str = Field(default="", pattern=r"^[a-z0-9]{0,32}$")
    temperature: float = Field(default=0.7, ge=0, le=2, allow_inf_nan=False)
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    messages: list[dict[str, JsonValue]] = Field(min_length=1, max_length=2000)


@dataclass(frozen=True)
class Prepared:
    """Everything that the database and the tool service had to say."""

    served: ServedModel
    play: Play


class NotAskable(Exception):
    """A sentence with the way out."""


@login_required
@require_GET
def chat(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    served = list(
        ServedModel.objects.alive()
        .filter(project=found)
        .select_related("checkpoint__run", "model__checkpoint__run", "created_by")
    )
    toolsets = list(Toolset.objects.visible_to(request.user).filter(project=found))
    asked = request.GET.get("served", "")
    chosen = next((one for one in served if str(one.pk) == asked), served[0] if served else None)
    context = {
        "project": found,
        "served": served,
        "chosen": chosen,
        "toolsets": toolsets,
        "asked_toolset": request.GET.get("toolset", chosen.toolset if chosen else ""),
        "health": look() if toolsets else None,
        "statuses": [*ENDINGS, "not_made"],
        "allowed": may(request.user, "models.try", found),
    }
    return render(request, "chat/chat.html", context)


@login_required
async def answer(request: HttpRequest, project: str) -> HttpResponse | StreamingHttpResponse:
    """One answer as lines of JSON: turn, text, call, result, message, usage, then end or error."""
    user = await request.auser()
    # Before a word about anything else: to strangers there is nothing here.
    found = await sync_to_async(get_project)(request, project)
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    try:
        if len(request.body) > MOST_BYTES:
            raise NotAskable("The conversation has grown too long to be sent; begin a new one.")
        asked = Asked.model_validate_json(request.body)
        prepared = await sync_to_async(_prepare)(user, found, asked)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return JsonResponse({"message": f"{'.'.join(map(str, first['loc']))}: {first['msg']}."}, status=422)
    except NotAskable as error:
        return JsonResponse({"message": str(error)}, status=409)
    except PermissionDenied as error:
        return JsonResponse({"message": str(error)}, status=403)
    response = StreamingHttpResponse(_send(prepared, asked), content_type="application/x-ndjson")
    response["Cache-Control"] = "no-cache, no-transform"
    response["X-Accel-Buffering"] = "no"
    return response


def _prepare(user: Any, found: Project, asked: Asked) -> Prepared:
    """Raises NotAskable, PermissionDenied and Http404."""
    require(user, "models.try", found)
    served = get_object_or_404(
        ServedModel.objects.visible_to(user).select_related("checkpoint__run", "model__checkpoint__run"),
        project=found,
        pk=asked.served,
    )
    try:
        token = served.read_token()
    except OSError as error:
        raise NotAskable(
            f"{served.name} is no longer served; start it with `chanote serve` and load the page again."
        ) from error
    tools = _find_tools(found, asked.toolset) if asked.toolset else None
    settings: dict[str, Any] = {"temperature": asked.temperature}
    if asked.max_tokens is not None:
        settings["max_tokens"] = asked.max_tokens
    name = f"chat-{user.pk}-{asked.conversation or secrets.token_hex(8)}"
    play = Play(
        Asking(served.address, token),
        served.name,
        tell=lambda event: None,
        tools=tools,
        settings=settings,
        name=name,
        step=served.step,
    )
    return Prepared(served, play)


def _find_tools(project: Project, reference: str) -> Tools:
    try:
        revision = find_toolset(project, reference)
    except ToolsetRevision.DoesNotExist as error:
        raise NotAskable(f"{error}; choose another toolset.") from error
    health = look(revision.address)
    endpoint = find_endpoint(revision.address)
    if problems := find_differences(revision, health):
        raise NotAskable(problems[0])
    assert endpoint is not None  # a service that answers is one that the installation knows
    functions = [one for one in health.functions if one["name"] in revision.tools]
    return Tools(endpoint, functions, revision.read_limits)


async def _send(prepared: Prepared, asked: Asked) -> AsyncIterator[str]:
    """What the play tells, as it comes. When the page goes away, the play is stopped."""
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    play, places = prepared.play, _PLACES

    def tell(event: dict[str, Any] | None) -> None:
        try:
            loop.call_soon_threadsafe(events.put_nowait, event)
        except RuntimeError:  # the loop is closed: nobody reads
            play.stop()

    def work() -> None:
        try:
            play.run(asked.messages)
        except Exception:
            log.exception("an answer failed")
            tell({"type": "error", "message": "The platform failed; its log says why."})
        finally:
            places.release()
            tell(None)

    play.tell = tell
    # Taken here and not before: a response that nobody reads never comes this far.
    if not places.acquire(blocking=False):
        yield _line({"type": "error", "message": "Many people are asking just now; try again in a moment."})
        return
    threading.Thread(target=work, name="chat", daemon=True).start()
    try:
        while (event := await events.get()) is not None:
            if event["type"] == "stored":
                await sync_to_async(_store)(prepared.served, event["call"])
                continue
            yield _line(event)
    finally:
        play.stop()


def _line(event: dict[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False).encode("utf-8", "replace").decode() + "\n"


def _store(served: ServedModel, call: StoredToolCall) -> None:
    if served.run is not None:
        store_calls(served.run, [call])
