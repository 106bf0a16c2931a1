"""One container of tier A, seen from the service: started, spoken to in frames, and destroyed."""

import asyncio
import json
import struct
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from toolsandbox.code.answers import CodeAnswer
from toolsandbox.code.cgroups import Seats
from toolsandbox.code.engine import AttachedStreams, Engine, EngineError
from toolsandbox.code.settings import CallLimits

GRACE_S = 0.3
"""After a limit the program inside kills its child; past this the service kills the container."""

MOST_FRAME_BYTES = 1 << 20


class SandboxFailed(Exception):
    """The sandbox failed, not the program in it. Retryable, never a result."""


class ContainerDied(SandboxFailed):
    """The container ended in the middle of something; what the engine says of its end decides what it means."""


@dataclass
class Call:
    kind: str
    """`python`, `bash`, `pytest` or `value`."""
    code: str
    limits: CallLimits
    stateful: bool = False
    last: bool = False
    """Nothing is run in the container afterwards, so nothing need be made ready for it."""
    stdin: bytes = b""
    expression: str = ""


@dataclass
class Outcome:
    """What came back of one call, before it is named."""

    done: dict[str, Any] = field(default_factory=dict)
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    first_at: float | None = None
    """When the first byte of output came, on the clock of `time.monotonic`."""


class Container:
    def __init__(self, engine: Engine, identity: str, streams: AttachedStreams) -> None:
        self.engine = engine
        self.identity = identity
        self._streams = streams
        self._buffer = bytearray()
        self._complaints = bytearray()
        self.alive = True
        self.is_busy = False
        """A call runs in it, or something went wrong in the middle of one."""
        self.discarded = False
        """Given up by whoever had it; its destruction is under way."""
        self.on_destroyed: Callable[[str], None] = _forget
        self.greeting = b""
        """What the program inside said when it was ready."""
        self.seats: Seats | None = None
        """Of a batch's container only."""

    @property
    def is_connected(self) -> bool:
        return self.alive and not self._streams.is_closed

    @classmethod
    async def start(cls, engine: Engine, spec: dict[str, Any]) -> "Container":
        """Create, attach, start, and wait until the interpreter inside says that it is ready."""
        identity = await engine.create(spec, name=f"chanote-sandbox-{uuid.uuid4().hex}")
        streams = None
        try:
            streams = await engine.attach(identity)
            container = cls(engine, identity, streams)
            await engine.start(identity)
            async with asyncio.timeout(engine.timeout_s):
                kind, container.greeting = await container.read_frame()
            if kind != b"R":
                raise SandboxFailed(f"the program in the container began with {kind!r}")
        except BaseException as failed:
            # A start that was cancelled leaves a container too.
            try:
                await asyncio.shield(engine.remove(identity))
            finally:
                if streams is not None:
                    streams.close()
            if isinstance(failed, TimeoutError):
                raise SandboxFailed("the interpreter in a new container did not get ready in time") from None
            raise
        return container

    async def read_frame(self) -> tuple[bytes, bytes]:
        head = await self._take(5)
        kind, length = struct.unpack(">cI", head)
        if length > MOST_FRAME_BYTES:
            raise SandboxFailed("a frame from the container is longer than any it may send")
        return kind, await self._take(length)

    async def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            try:
                stream, piece = await self._streams.read()
            except EOFError:
                self.alive = False
                said = bytes(self._complaints[-300:]).decode("utf-8", "replace").strip()
                raise ContainerDied(f"the container ended{': ' + said if said else ''}") from None
            if stream == 1:
                self._buffer += piece
            else:
                self._complaints = (self._complaints + piece)[-4096:]
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def write_frame(self, kind: bytes, payload: bytes) -> None:
        try:
            await self._streams.write(struct.pack(">cI", kind, len(payload)) + payload)
        except EOFError:
            self.alive = False
            raise ContainerDied("the container ended") from None

    async def run(self, call: Call) -> Outcome:
        """Run one call to its end. Raises `ContainerDied` or `SandboxFailed`; the container is then useless."""
        limits = call.limits
        request = {
            "kind": call.kind,
            "code": call.code,
            "expression": call.expression,
            "stateful": call.stateful,
            "last": call.last,
            "has_stdin": bool(call.stdin),
            "wall_s": limits.wall_s,
            "cpu_s": limits.cpu_s,
            "output_bytes": limits.output_bytes,
            "value_bytes": limits.value_bytes,
        }
        outcome = Outcome()
        self.is_busy = True
        sent_at = time.monotonic()
        try:
            async with asyncio.timeout(limits.wall_s + GRACE_S):
                await self.write_frame(b"C", json.dumps(request).encode())
                if call.stdin:
                    await self.write_frame(b"I", call.stdin)
                while not outcome.done:
                    kind, payload = await self.read_frame()
                    self._keep(kind, payload, outcome, limits)
        except TimeoutError:
            await self.kill()
            outcome.done = {"cause": "wall", "wall_ms": (limits.wall_s + GRACE_S) * 1e3}
        except asyncio.CancelledError:
            self.alive = False
            raise
        self.is_busy = not self.alive
        if outcome.first_at is not None:
            outcome.done["first_output_ms"] = (outcome.first_at - sent_at) * 1e3
        return outcome

    def _keep(self, kind: bytes, payload: bytes, outcome: Outcome, limits: CallLimits) -> None:
        if kind == b"D":
            outcome.done = json.loads(payload)
            return
        kept = {b"O": outcome.stdout, b"E": outcome.stderr, b"V": outcome.value}.get(kind)
        if kept is None:
            raise SandboxFailed(f"the container sent an unknown frame {kind!r}")
        if outcome.first_at is None:
            outcome.first_at = time.monotonic()
        kept += payload
        # The program inside caps its output; whoever takes it over may not, so the service counts again.
        room = limits.value_bytes if kind == b"V" else limits.output_bytes
        if len(kept) > room:
            self.alive = False
            raise SandboxFailed("the container sent more than it may")

    async def put(self, path: str, size: int, pieces: AsyncIterator[bytes]) -> str | None:
        """Stream a file in; answers why it could not be written, or None. `size` bytes must come."""
        # Unless it comes to its end, the program inside takes whatever is next for the rest of the file.
        self.alive = False
        await self.write_frame(b"P", json.dumps({"path": path, "bytes": size}).encode())
        sent = 0
        async for piece in pieces:
            if sent + len(piece) > size:
                raise ValueError("the file is longer than it said")
            for at in range(0, len(piece), 1 << 16):
                part = piece[at : at + (1 << 16)]
                await self.write_frame(b"F", part)
                sent += len(part)
        if sent != size:
            raise ValueError("the file is shorter than it said")
        _, payload = await self.read_frame()
        self.alive = True
        reason: str | None = json.loads(payload)["error"]
        return reason

    async def get(self, path: str, most_bytes: int) -> AsyncIterator[bytes]:
        """Stream a file out. Raises `FileNotFoundError` with the reason for one that cannot be read."""
        await self.write_frame(b"G", json.dumps({"path": path, "most_bytes": most_bytes}).encode())
        while True:
            kind, payload = await self.read_frame()
            if kind == b"D":
                reason = json.loads(payload)["error"]
                if reason:
                    raise FileNotFoundError(reason)
                return
            yield payload

    async def kill(self) -> None:
        self.alive = False
        with suppress(EngineError):
            await self.engine.kill(self.identity)

    async def read_end(self) -> dict[str, Any] | None:
        """State of the ended container, as the engine tells it."""
        for _ in range(40):
            inspected = await self.engine.inspect(self.identity)
            if inspected is None:
                return None
            if not inspected["State"]["Running"]:
                return dict(inspected["State"])
            await asyncio.sleep(0.05)
        return None

    async def destroy(self) -> None:
        """Remove the container. Quiet when the engine is away: the reaper finds it by its label."""
        self.alive = False
        with suppress(EngineError):
            await self.engine.remove(self.identity)
        # Only now: closed earlier, the program inside would end by itself while the engine removes it, and engines
        # of 20.10 then keep a name that is `removing` for ever.
        self._streams.close()
        self.on_destroyed(self.identity)


def _forget(identity: str) -> None:
    """Nobody keeps a list."""


def name_outcome(outcome: Outcome, limits: CallLimits, *, image_digest: str, policy_digest: str) -> CodeAnswer:
    """The one terminal status of a call, from what the first process and the cgroup counted."""
    done = outcome.done
    cause, exit_code, signal = done.get("cause"), done.get("exit_code"), done.get("signal")
    killed_for_memory = done.get("oom_kills", 0) > 0
    failed = signal is not None or exit_code not in (0, None)
    if cause in ("wall", "cpu"):
        status = "timeout"
    elif cause == "output":
        status = "output_limit"
    elif killed_for_memory and (signal == 9 or exit_code == 137):
        status = "oom"
    elif failed and done.get("disk_full"):
        status = "disk_limit"
    elif failed and done.get("refused_forks", 0) > 0:
        status = "pids_limit"
    else:
        status = "error" if failed else "ok"
    return CodeAnswer(
        status=status,
        exit_code=exit_code,
        signal=signal,
        stdout=outcome.stdout.decode("utf-8", "replace"),
        stderr=outcome.stderr.decode("utf-8", "replace"),
        stdout_bytes=done.get("stdout_bytes", len(outcome.stdout)),
        stderr_bytes=done.get("stderr_bytes", len(outcome.stderr)),
        truncated=cause == "output",
        limit=cause if cause in ("wall", "cpu") else None,
        oom_child=killed_for_memory and status != "oom",
        session_reset=bool(done.get("session_reset")),
        first_output_ms=done.get("first_output_ms"),
        wall_ms=round(done.get("wall_ms", 0.0), 3),
        cpu_ms=round(done.get("cpu_ms", 0.0), 3),
        image_digest=image_digest,
        policy_digest=policy_digest,
    )
