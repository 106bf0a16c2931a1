"""Asking the tool service, many calls at a time. What the service answers is data; what it fails to answer is a fault
of the service, never of the policy."""

import asyncio
import contextlib
import json
import os
import time
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter

from trainer.contract.tool_calls import CallStatus
from trainer.contract.toolsets import KEY_VARIABLE, ToolLimits, ToolsetSpec
from trainer.failures import InvalidSpec, RunFailed
from trainer.rollouts.calls import Call
from trainer.rollouts.rollout import SERVICE_FAILED, ToolResult

BUSY = 429
REPEATED = frozenset({408, 425, 429, 500, 502, 503, 504})
CALLS_AT_ONCE = 64
END_SECONDS = 5.0
LARGEST_REPLY = 8 << 20
"""Bytes; what is longer is no reply."""
Reply: TypeAdapter[str] = TypeAdapter(CallStatus)
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0
"""Seconds between two tries; doubled after each."""


class ToolClient:
    """One connection pool for all calls of a round. Opened and used within one event loop."""

    def __init__(self, address: str, limits: ToolLimits, *, key: str = "") -> None:
        self.address, self.limits = address, limits
        self._keeps_sessions = True
        self._places = asyncio.Semaphore(CALLS_AT_ONCE)
        self._http = httpx.AsyncClient(
            base_url=address,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(limits.call_seconds),
            limits=httpx.Limits(max_connections=CALLS_AT_ONCE),
            trust_env=False,
        )

    async def call(self, call: Call, *, session: str, key: str) -> ToolResult:
        """Make one call, again where the service failed. `key` names it: a call that was made is not made twice."""
        body = {"arguments": call.arguments, "session": session, "idempotency_key": key}
        begun = time.monotonic()
        fault, wait, attempt, failures = "", FIRST_WAIT, 0, 0
        while failures <= self.limits.retries:
            attempt += 1
            failures += 1
            asked_again = 0.0
            try:
                async with self._places, asyncio.timeout(self.limits.call_seconds):
                    reply, content = await self._post(f"/v1/tools/{call.name}", body)
            except TimeoutError:
                fault = f"{call.name} said nothing within {self.limits.call_seconds:g} s"
            except httpx.HTTPError as error:
                fault = f"{self.address} did not answer: {error or type(error).__name__}"
            else:
                result = _read(reply.status_code, content, begun, attempt)
                if result.status != SERVICE_FAILED:
                    return result
                fault = result.text
                if reply.status_code not in REPEATED and reply.status_code != 200:
                    break
                asked_again = _retry_after(reply)
                # One that is only busy has not failed: the call waits for its turn as long as a call may take.
                failures -= reply.status_code == BUSY and time.monotonic() - begun < self.limits.call_seconds
            if failures <= self.limits.retries:
                await asyncio.sleep(min(max(wait, asked_again), LONGEST_WAIT))
                wait *= 2
        return ToolResult(SERVICE_FAILED, fault, wall_ms=_ms(begun), tries=attempt)

    async def end(self, session: str) -> None:
        """Give back what the service keeps for an episode that is over, such as its container. Nothing depends on it:
        what is not given back ends by its own time.
        """
        if not self._keeps_sessions:
            return
        with contextlib.suppress(httpx.HTTPError, TimeoutError):
            async with self._places, asyncio.timeout(END_SECONDS):
                reply = await self._http.delete(f"/v1/sessions/{quote(session, safe='')}")
            # A service without code tools has no such route, and says so in its own way.
            self._keeps_sessions = reply.status_code in (200, 429) or b'"ended"' in reply.content

    async def _post(self, path: str, body: dict[str, Any]) -> tuple[httpx.Response, bytes]:
        """The reply and as much of its content as a reply can have."""
        async with self._http.stream("POST", path, json=body) as reply:
            content = bytearray()
            async for part in reply.aiter_raw():
                content += part
                if len(content) > LARGEST_REPLY:
                    break
            return reply, bytes(content)

    async def close(self) -> None:
        await self._http.aclose()


def read_tools(toolset: ToolsetSpec) -> tuple[str, list[dict[str, Any]]]:
    """The service's key from the environment, and the tools as they were frozen, or else as the service tells them now.

    Raises RunFailed where the service cannot be asked, and InvalidSpec where it has not all of the toolset's tools.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        reply = httpx.get(f"{toolset.address}/v1/tools", headers=headers, timeout=10.0, trust_env=False)
        reply.raise_for_status()
        offered = {str(one["function"]["name"]): dict(one) for one in reply.json()["tools"]}
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise RunFailed(
            f"the tool service at {toolset.address} does not tell its tools ({error}); see that it runs and that "
            f"{KEY_VARIABLE} holds its token where it wants one, and resume."
        ) from error
    if missing := [name for name in toolset.tools if name not in offered]:
        raise InvalidSpec(
            f"recipe.toolset: the service at {toolset.address} has no {', '.join(missing)}; it has "
            f"{', '.join(offered)}."
        )
    frozen = {str(one["name"]): {"type": "function", "function": one} for one in toolset.functions}
    return key, [frozen.get(name, offered[name]) for name in toolset.tools]


def _read(status_code: int, content: bytes, begun: float, attempt: int) -> ToolResult:
    try:
        body = json.loads(content)
        if status_code == 200:
            result = body["result"]
            status, text = Reply.validate_python(result["status"]), _whole(str(result["text"]))
            return ToolResult(
                status,
                text,
                wall_ms=_ms(begun),
                tries=attempt,
                call_id=_whole(str(body["id"])),
                at=round(time.time(), 3),
                sections=_sections(result),
            )
        text = _whole(str(body["error"]["message"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        text = f"it answered {status_code} with what is no reply of a tool service"
    return ToolResult(SERVICE_FAILED, text, wall_ms=_ms(begun), tries=attempt)


def _whole(text: str) -> str:
    """JSON can hold halves of characters; no tokenizer and no file takes them."""
    return text.encode("utf-8", "replace").decode()


def _sections(result: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Of law, where the tool showed any: one that was read, or several that were found."""
    shown = [result, *(result.get("hits") or [])]
    return tuple(
        (one["law_name"], one["section_num"])
        for one in shown
        if isinstance(one, dict) and isinstance(one.get("law_name"), str) and isinstance(one.get("section_num"), str)
    )


def _retry_after(reply: httpx.Response) -> float:
    try:
        return float(reply.headers.get("Retry-After", 0))
    except ValueError:
        return 0.0


def _ms(begun: float) -> float:
    return round((time.monotonic() - begun) * 1e3, 3)
