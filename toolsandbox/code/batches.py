"""Tier B: many short pure functions, each in fresh namespaces, a few at a time, in one container per batch."""

import asyncio
import json
import struct
from collections import deque
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from toolsandbox.code.answers import ValueAnswer, read_told
from toolsandbox.code.cgroups import CallCgroup, CallCounts, CgroupsUnavailable, Seats, find_call_cgroups
from toolsandbox.code.container import Container, ContainerDied, SandboxFailed
from toolsandbox.code.settings import CodeSettings
from toolsandbox.contract import Status

ENDED, FAILED, OUT_OF_TIME, KILLED, SIGNALLED, NOT_MADE = range(6)
GRACE_S = 0.5
PREPARING = 2
"""Processes of a call that prepare it: the worker and the keeper."""
PREPARING_CPU_S = 0.05
"""CPU time that they may spend in the call's cgroup without its being the call's."""


class FunctionCall(BaseModel):
    """A pure function and its arguments: source that defines `function`, and plain JSON values to call it with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(max_length=200_000)
    function: str = Field(max_length=200)
    arguments: list[Any] = []
    wall_s: float = Field(default=2.0, gt=0, le=30, allow_inf_nan=False)
    cpu_s: float = Field(default=2.0, gt=0, le=30, allow_inf_nan=False)
    """Of all its processes. A process is ended at the next whole second only: the kernel counts in seconds."""
    memory_bytes: int | None = Field(default=None, ge=32 << 20, le=1 << 40)
    """Of the call's cgroup; where there is none, address space of its one process. Not given: all that one may have."""
    value_bytes: int = Field(default=1 << 16, ge=16, le=1 << 19)
    disk_bytes: int = Field(default=1 << 20, ge=1 << 12, le=64 << 20)


@dataclass
class _Running:
    number: int
    call: FunctionCall
    cgroup: CallCgroup | None


async def seat_workers(container: Container, settings: CodeSettings) -> None:
    """Find where the cgroups of a new container's calls can be made, or why nowhere."""
    workers = json.loads(container.greeting)["workers"]
    inspected = await container.engine.inspect(container.identity)
    cgroups, reason = None, ""
    try:
        cgroups = find_call_cgroups(inspected["State"]["Pid"] if inspected else 0, container.identity, workers)
    except CgroupsUnavailable as unavailable:
        reason = str(unavailable)
    container.seats = Seats(workers, settings.memory_bytes, settings.batch_processes, cgroups, reason)


async def run_batch(container: Container, calls: list[FunctionCall], *, workers: int) -> list[ValueAnswer]:
    """Run the calls in one container, `workers` at a time; answers in their order.

    Where the container ends early, the calls without an answer are `infra_error`: nothing says which of them did it.
    """
    seats = container.seats
    if seats is None:
        raise SandboxFailed("the container is not one for batches")
    answers: list[ValueAnswer | None] = [None] * len(calls)
    workers = min(workers, len(seats.workers))
    longest = sum(call.wall_s for call in calls) / workers + max((call.wall_s for call in calls), default=0.0)
    reason = "the batch's container ran past the sum of its limits"
    container.is_busy = True
    waiting: deque[tuple[int, FunctionCall]] = deque()
    for number, call in enumerate(calls):
        if call.memory_bytes is not None and call.memory_bytes > seats.memory_bytes:
            sentence = f"memory_bytes: {call.memory_bytes} is more than the {seats.memory_bytes} that one call may have"
            answers[number] = ValueAnswer(status="rejected", detail=sentence)
        else:
            waiting.append((number, call))
    running: dict[int, _Running] = {}
    free = list(range(workers))
    try:
        async with asyncio.timeout(longest + GRACE_S * len(calls)):
            while waiting or running:
                while waiting and free:
                    slot = free.pop()
                    running[slot] = await _send(container, seats, slot, *waiting.popleft())
                slot, facts, value = read_answer(*await container.read_frame())
                ended = running.pop(slot, None)
                if ended is None:
                    raise SandboxFailed("the fork server answered a call that it was not given")
                counts = ended.cgroup.close() if ended.cgroup else guess_counts(facts)
                answers[ended.number] = name_answer(facts, value, ended.call, counts)
                free.append(slot)
    except TimeoutError:
        await container.kill()
    except (ContainerDied, SandboxFailed) as failed:
        reason = str(failed)
    finally:
        for left in running.values():
            if left.cgroup:
                left.cgroup.close()
    return [answer or ValueAnswer(status="infra_error", detail=reason) for answer in answers]


async def _send(container: Container, seats: Seats, slot: int, number: int, call: FunctionCall) -> _Running:
    cgroup = None
    memory_bytes = call.memory_bytes or seats.memory_bytes
    if seats.cgroups is not None:
        try:
            cgroup = seats.cgroups.open_call(slot, memory_bytes=memory_bytes, processes=PREPARING + seats.processes)
        except OSError as failed:
            raise SandboxFailed(f"no cgroup for a call: {failed.strerror}") from None
    running = _Running(number, call, cgroup)
    job = {**call.model_dump(), "memory_bytes": memory_bytes, "counted": cgroup is not None}
    try:
        await container.write_frame(b"J", bytes([slot]) + json.dumps(job).encode())
    except BaseException:
        if cgroup:
            cgroup.close()
        raise
    return running


def read_answer(kind: bytes, payload: bytes) -> tuple[int, dict[str, Any], bytes]:
    """Slot, facts and claim of one answer. Raises `SandboxFailed` for a frame that the fork server would not send."""
    try:
        if kind != b"D":
            raise ValueError
        length = struct.unpack(">I", payload[1:5])[0]
        return payload[0], dict(json.loads(payload[5 : 5 + length])), payload[5 + length :]
    except (ValueError, TypeError, IndexError, struct.error):
        raise SandboxFailed(f"the fork server sent an unknown frame {kind!r}") from None


def guess_counts(facts: dict[str, Any]) -> CallCounts:
    """Without a cgroup of its own: a call that the kernel killed while the container ran out of memory was meant."""
    return CallCounts(oom_kills=facts["container_oom_kills"] if facts["ended"] == KILLED else 0)


def name_answer(facts: dict[str, Any], claim: bytes, call: FunctionCall, counts: CallCounts) -> ValueAnswer:
    """The one status of a call, from how it ended, what its cgroup counted, and last what it claims."""
    wall_ms = round(facts["wall_ms"], 3)
    told = read_told(claim) or {}
    detail = str(told.get("error", ""))[:500]
    ended = facts["ended"]
    status: Status
    if facts["too_long"]:
        status, detail = "output_limit", "the value is longer than it may be"
    elif ended == OUT_OF_TIME:
        status, detail = "timeout", "wall time"
    elif ended == KILLED and counts.oom_kills:
        status, detail = "oom", "out of memory"
    elif ended == KILLED or counts.cpu_s > call.cpu_s + PREPARING_CPU_S:
        status, detail = "timeout", "CPU time"
    elif ended == NOT_MADE:
        status = "infra_error"
    elif ended == ENDED and "value" in told:
        return ValueAnswer(status="ok", value=told["value"], has_value=True, wall_ms=wall_ms)
    elif told.get("oom") is True or (counts.oom_kills and ended != SIGNALLED):
        status, detail = "oom", detail or "out of memory"
    elif counts.refused_forks:
        status, detail = "pids_limit", detail or "too many processes"
    elif ended == SIGNALLED:
        status, detail = "error", "ended by a signal"
    else:
        status, detail = "error", detail or "the function ended without an answer"
    return ValueAnswer(status=status, detail=detail, wall_ms=wall_ms)
