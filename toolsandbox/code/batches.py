"""Tier B: many short pure functions, each in fresh namespaces, a few at a time, in one container per batch."""

import asyncio
import json
import struct
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from toolsandbox.code.answers import ValueAnswer, read_told
from toolsandbox.code.container import MOST_FRAME_BYTES, Container, ContainerDied, SandboxFailed
from toolsandbox.code.hardening import read_program
from toolsandbox.contract import Status

ENDED, FAILED, OUT_OF_TIME, OUT_OF_CPU, SIGNALLED, NOT_MADE = range(6)
GRACE_S = 0.5


class FunctionCall(BaseModel):
    """A pure function and its arguments: source that defines `function`, and plain JSON values to call it with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(max_length=200_000)
    function: str = Field(max_length=200)
    arguments: list[Any] = []
    wall_s: float = Field(default=2.0, gt=0, le=30, allow_inf_nan=False)
    cpu_s: float = Field(default=2.0, gt=0, le=30, allow_inf_nan=False)
    """Rounded up to whole seconds: the kernel counts this limit in seconds."""
    memory_bytes: int = Field(default=192 << 20, ge=32 << 20, le=2 << 30)
    """Address space of the process, interpreter included."""
    value_bytes: int = Field(default=1 << 16, ge=16, le=1 << 19)
    disk_bytes: int = Field(default=1 << 20, ge=1 << 12, le=64 << 20)


def write_command(workers: int) -> list[str]:
    """Command of the fork server: both programs as text, the shared one under its own module name."""
    name = "toolsandbox.code.inside.agent"
    start = (
        f"import sys, types\nshared = types.ModuleType({name!r})\nsys.modules[{name!r}] = shared\n"
        f"exec(compile({read_program('agent.py')!r}, 'agent', 'exec'), shared.__dict__)\n"
        f"exec(compile({read_program('batch.py')!r}, 'batch', 'exec'), {{'__name__': '__main__'}})\n"
    )
    return ["/usr/bin/python3", "-s", "-P", "-B", "-c", start, str(workers)]


async def run_batch(container: Container, calls: list[FunctionCall], *, workers: int) -> list[ValueAnswer]:
    """Run the calls in one container; answers in their order.

    Where the container ends early, the calls without an answer are `infra_error`: nothing says which of them did it.
    """
    answers: list[ValueAnswer | None] = [None] * len(calls)
    longest = sum(call.wall_s for call in calls) / workers + max((call.wall_s for call in calls), default=0.0)
    reason = "the batch's container ran past the sum of its limits"
    try:
        async with asyncio.timeout(longest + GRACE_S * len(calls)):
            sending = asyncio.create_task(_send(container, calls))
            try:
                for _ in calls:
                    number, answer = read_answer(*await container.read_frame())
                    answers[number] = answer
                await sending
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
    except TimeoutError:
        await container.kill()
    except (ContainerDied, SandboxFailed) as failed:
        reason = str(failed)
    return [answer or ValueAnswer(status="infra_error", detail=reason) for answer in answers]


async def _send(container: Container, calls: list[FunctionCall]) -> None:
    for number, call in enumerate(calls):
        await container.write_frame(b"J", json.dumps({"number": number, **call.model_dump()}).encode())


def read_answer(kind: bytes, payload: bytes) -> tuple[int, ValueAnswer]:
    """One answer frame. Raises `SandboxFailed` for a frame that the fork server would not send."""
    if kind != b"D" or len(payload) < 4 or len(payload) > MOST_FRAME_BYTES:
        raise SandboxFailed(f"the fork server sent an unknown frame {kind!r}")
    length = struct.unpack(">I", payload[:4])[0]
    facts = json.loads(payload[4 : 4 + length])
    return facts["number"], _name(facts, payload[4 + length :])


def _name(facts: dict[str, Any], raw: bytes) -> ValueAnswer:
    wall_ms = round(facts["wall_ms"], 3)
    told = read_told(raw) or {}
    detail = str(told.get("error", ""))[:500]
    status: Status
    if facts["too_long"]:
        status, detail = "output_limit", "the value is longer than it may be"
    elif facts["ended"] == OUT_OF_TIME:
        status, detail = "timeout", "wall time"
    elif facts["ended"] == OUT_OF_CPU:
        status, detail = "timeout", "CPU time"
    elif facts["ended"] == SIGNALLED:
        status, detail = "error", "ended by a signal"
    elif facts["ended"] == NOT_MADE:
        status = "infra_error"
    elif facts["ended"] == ENDED and "value" in told:
        return ValueAnswer(status="ok", value=told["value"], has_value=True, wall_ms=wall_ms)
    elif told.get("oom") is True:
        status = "oom"
    else:
        status, detail = "error", detail or "the function ended without an answer"
    return ValueAnswer(status=status, detail=detail, wall_ms=wall_ms)
