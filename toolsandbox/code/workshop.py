"""The code tools as the service calls them: engine, pools and reaper, and what sessions, calls and verdicts need."""

import asyncio
import itertools
import secrets
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from toolsandbox.code.batches import FunctionCall, run_batch, seat_workers
from toolsandbox.code.calls import CallRefused, Stamp, choose_limits, find_refusal, run_call
from toolsandbox.code.container import Call, Container, SandboxFailed
from toolsandbox.code.engine import Engine, EngineError
from toolsandbox.code.files import check_path, get_stream, put_stream
from toolsandbox.code.grading import Grader
from toolsandbox.code.hardening import OWNER_LABEL, USERS, build_spec, digest_policy
from toolsandbox.code.pool import Pool, PoolFull
from toolsandbox.code.programs import write_command
from toolsandbox.code.reaper import TICKET_LABEL, reap
from toolsandbox.code.sessions import OpenSession, SessionEnded, Sessions
from toolsandbox.code.settings import CallLimits, CodeSettings
from toolsandbox.code.verifiers import Batch, VerifierGate, try_functions
from toolsandbox.contract import (
    CodeAnswer,
    TestsAnswer,
    TrialReply,
    TrialRequest,
    ValueAnswer,
    Verifier,
    VerifyReply,
    VerifyRequest,
)

REAP_EVERY_S = 60.0
__all__ = ["CallRefused", "PoolFull", "Workshop", "check_path"]


class Workshop:
    def __init__(self, settings: CodeSettings, engine: Engine | None = None) -> None:
        self.settings = settings
        self.engine = engine or Engine(settings.socket)
        self.image = ""
        self.image_digest = ""
        self.policy_digest = digest_policy(settings)
        self.no_cgroups = ""
        """Why calls of a batch have no cgroup of their own; empty where they have."""
        self._held: set[str] = set()
        # Not every service on this host begins with the same one.
        first = secrets.randbelow(len(USERS))
        self._users = itertools.cycle([*USERS[first:], *USERS[:first]])
        self._keeper: asyncio.Task[None] | None = None
        self.pool = Pool(
            self._start_container,
            warm=settings.warm,
            most=settings.most_containers,
            starters=settings.starters,
            most_waiting=settings.most_waiting,
            longest_wait_s=settings.longest_wait_s,
        )
        self.batch_pool = Pool(
            self._start_batch_container,
            warm=settings.warm_batches,
            most=settings.most_batches,
            starters=1,
            most_waiting=settings.most_waiting,
            longest_wait_s=settings.longest_wait_s,
        )
        self._sessions = Sessions(most_each=settings.find_most_sessions_each(), discard=self.discard)
        self._grader = Grader(settings, take=self.pool.take, discard=self.discard)
        self._gate = VerifierGate()

    # ---- life ----

    async def find_image(self) -> None:
        """Resolve the image once. Raises `EngineError` with the way out."""
        found = await self.engine.inspect_image(self.settings.image)
        if found is None:
            raise EngineError(f"no image {self.settings.image}; build it with docker/build-sandbox-image")
        layers = found["RootFS"]["Layers"]
        digest = layers[0] if len(layers) == 1 else found["Id"]
        wanted = self.settings.image_digest
        if wanted is not None and wanted not in (digest, found["Id"]):
            raise EngineError(
                f"image {self.settings.image} has the digest {digest}, not {wanted}; build or load that one"
            )
        self.image, self.image_digest = found["Id"], digest

    async def open(self) -> None:
        """Find engine and image, remove what an earlier service left, and start the pool."""
        await self.engine.ping()
        await self.engine.require_runtime(self.settings.runtime)
        await self.find_image()
        await reap(self.engine, owner=self.settings.owner, held=set(), at_start=True)
        self.pool.open()
        self.batch_pool.open()
        self._keeper = asyncio.create_task(self._keep_house())

    async def wait_until_warm(self) -> None:
        """Until each pool has a container ready. Raises `SandboxFailed` once one cannot be started."""
        for pool in (self.pool, self.batch_pool):
            while not pool.ready:
                if pool.last_error:
                    raise SandboxFailed(pool.last_error)
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Leave no container."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        self._sessions.end_all()
        await asyncio.gather(self.pool.close(), self.batch_pool.close())
        for listed in await self._list_own():
            await self.engine.remove(listed)

    async def _list_own(self) -> list[str]:
        try:
            return [listed["Id"] for listed in await self.engine.list_labelled(f"{OWNER_LABEL}={self.settings.owner}")]
        except EngineError:
            return []

    async def _start_container(self) -> Container:
        return await self._start_with(write_command("agent"))

    async def _start_batch_container(self) -> Container:
        command = write_command("batch", str(self.settings.batch_workers))
        container = await self._start_with(command, for_batches=True)
        try:
            await seat_workers(container, self.settings)
        except BaseException:
            await asyncio.shield(container.destroy())
            raise
        self.no_cgroups = container.seats.reason if container.seats else ""
        return container

    async def _start_with(self, command: list[str], *, for_batches: bool = False) -> Container:
        life_s = self.settings.session_life_s + self.settings.most_wall_s + 3600
        spec = build_spec(
            self.settings,
            image=self.image,
            program=command,
            life_s=life_s,
            user=next(self._users),
            for_batches=for_batches,
        )
        ticket = spec["Labels"][TICKET_LABEL] = uuid.uuid4().hex
        self._held.add(ticket)
        try:
            container = await Container.start(self.engine, spec)
            self._held.add(container.identity)
        finally:
            self._held.discard(ticket)
        container.on_destroyed = self._held.discard
        return container

    async def _keep_house(self) -> None:
        last_reap = time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            self._sessions.end_old(idle_s=self.settings.session_idle_s, life_s=self.settings.session_life_s)
            await asyncio.gather(self.pool.drop_dead(), self.batch_pool.drop_dead())
            if time.monotonic() - last_reap >= REAP_EVERY_S:
                last_reap = time.monotonic()
                try:
                    await reap(self.engine, owner=self.settings.owner, held=self._held)
                except EngineError as failed:
                    self.pool.last_error = str(failed)

    def discard(self, container: Container) -> None:
        """Destroy a container that was taken. Twice is once."""
        if not container.discarded:
            container.discarded = True
            self.pool.give_up(container)

    def discard_batch(self, container: Container) -> None:
        if not container.discarded:
            container.discarded = True
            self.batch_pool.give_up(container)

    @property
    def stamp(self) -> Stamp:
        return Stamp(self.image_digest, self.policy_digest)

    # ---- sessions ----

    @property
    def open_sessions(self) -> int:
        return len(self._sessions)

    async def end_session(self, tenant: str, session: str) -> bool:
        """End a trajectory's container; a call that runs in it ends as `killed`. Answers whether there was one."""
        return self._sessions.end(tenant, session)

    # ---- calls ----

    def choose_limits(
        self, *, wall_s: float | None = None, cpu_s: float | None = None, output_bytes: int | None = None
    ) -> CallLimits:
        """Limits of one call. Raises `CallRefused`."""
        return choose_limits(self.settings, wall_s=wall_s, cpu_s=cpu_s, output_bytes=output_bytes)

    async def run(
        self,
        code: str,
        *,
        language: str = "python",
        tenant: str = "default",
        session: str | None = None,
        limits: CallLimits | None = None,
        stdin: bytes = b"",
        stateful: bool = True,
    ) -> CodeAnswer:
        """Run a program. Without a session it gets a container of its own, which is destroyed afterwards.

        Raises `PoolFull`; every other failure is an answer.
        """
        call = Call(
            kind=language,
            code=code,
            limits=limits or self.settings.limits,
            stdin=stdin,
            stateful=stateful and session is not None and language == "python" and not stdin,
            last=session is None,
        )
        if refusal := find_refusal(self.settings, call):
            return self.stamp.answer("rejected", message=refusal)
        asked = time.monotonic()
        try:
            if session is None:
                return await self._run_alone(call, tenant, asked)
            async with self._sessions.use(tenant, session) as opened:
                return await self._run_in(opened, call, tenant, asked)
        except SessionEnded:
            return self.stamp.answer("killed", message="the session was ended before the call ran")
        except SandboxFailed as failed:
            return self.stamp.answer("infra_error", message=str(failed))

    async def _run_alone(self, call: Call, tenant: str, asked: float) -> CodeAnswer:
        container = await self.pool.take(tenant)
        queue_ms = (time.monotonic() - asked) * 1e3
        try:
            answer = await run_call(container, call, self.stamp)
        finally:
            self.discard(container)
        return answer.model_copy(update={"queue_ms": round(queue_ms, 3)})

    async def _run_in(self, session: OpenSession, call: Call, tenant: str, asked: float) -> CodeAnswer:
        if session.container is not None and not session.container.is_connected:
            # It died between two calls: that is not this call's doing, and its files are gone.
            session.container.alive = False
            return self.stamp.answer("infra_error", session_lost=True, message="the session's container is gone")
        container = await self._house(session, tenant)
        queue_ms = (time.monotonic() - asked) * 1e3
        answer = await run_call(container, call, self.stamp)
        return answer.model_copy(update={"queue_ms": round(queue_ms, 3), "session_lost": not container.alive})

    async def _house(self, session: OpenSession, tenant: str) -> Container:
        """The session's container, taken from the pool if it has none yet. Raises `SessionEnded` too."""
        if session.container is None:
            container = await self.pool.take(tenant)
            if session.ended:
                self.discard(container)
                raise SessionEnded
            session.container = container
        return session.container

    # ---- verdicts ----

    async def evaluate(
        self, code: str, expressions: list[str], *, tenant: str = "default", limits: CallLimits | None = None
    ) -> list[ValueAnswer]:
        """Values of expressions after a program, each in a process of its own. Raises `PoolFull`, `SandboxFailed`."""
        return await self._grader.evaluate(
            code,
            expressions,
            tenant=tenant,
            limits=limits or self.settings.limits,
            longest_s=self.settings.most_wall_s,
        )

    async def run_tests(
        self, code: str, tests: str, *, tenant: str = "default", limits: CallLimits | None = None
    ) -> TestsAnswer:
        """Judge a program by assertions whose expected side never enters the sandbox. Raises `PoolFull`."""
        return await self._grader.run_tests(code, tests, tenant=tenant, limits=limits or self.settings.limits)

    async def run_batch(self, calls: list[FunctionCall], *, tenant: str = "default") -> list[ValueAnswer]:
        """Values of pure functions, in one container of their own. Raises `PoolFull`, `SandboxFailed`."""
        if not calls:
            return []
        container = await self.batch_pool.take(tenant)
        try:
            return await run_batch(container, calls, workers=self.settings.batch_workers)
        finally:
            self.discard_batch(container)

    async def judge_verifiers(self, request: VerifyRequest, *, tenant: str = "default") -> VerifyReply:
        """Verdicts of written verifiers that told known good from known bad. Raises `PoolFull`, `SandboxFailed`."""
        async with self._open_batch(tenant, request.timeout_s) as batch:
            reply = await self._gate.judge(request, batch)
        return reply.model_copy(update=_tell_spent(batch))

    async def try_functions(self, request: TrialRequest, *, tenant: str = "default") -> TrialReply:
        """What functions answer that nobody vouches for. Raises `PoolFull`, `SandboxFailed`."""
        async with self._open_batch(tenant, request.timeout_s) as batch:
            reply = await try_functions(request, batch)
        return reply.model_copy(update=_tell_spent(batch))

    @asynccontextmanager
    async def _open_batch(self, tenant: str, timeout_s: float) -> AsyncIterator[Batch]:
        """Calls in one container of their own, in another one where that is lost; it ends with the block."""
        container: Container | None = None

        async def run(calls: list[FunctionCall]) -> list[ValueAnswer]:
            nonlocal container
            if container is not None and not container.is_connected:
                self.discard_batch(container)
                container = None
            asked = time.monotonic()
            container = container or await self.batch_pool.take(tenant)
            batch.waited_s += time.monotonic() - asked
            return await run_batch(container, calls, workers=self.settings.batch_workers)

        batch = Batch(run, timeout_s=timeout_s, longest_s=self.settings.most_batch_s)
        try:
            yield batch
        finally:
            if container is not None:
                self.discard_batch(container)

    async def admit_verifier(self, source: str, function: str, *, good: list[Any], bad: list[Any]) -> bool:
        """Whether a written verifier may be used; `good` and `bad` are its arguments. Raises `SandboxFailed` where the
        sandbox failed, which proves nothing."""
        verifier = Verifier(name="one", source=source, function=function, good=[good], bad=[bad])
        (report,) = (await self.judge_verifiers(VerifyRequest(verifiers=[verifier]))).verifiers
        if report.admitted is None:
            raise SandboxFailed(report.reason)
        return report.admitted

    # ---- files ----

    async def put_file(self, tenant: str, name: str, path: str, size: int, pieces: AsyncIterator[bytes]) -> None:
        """Stream a file into a session. Raises `CallRefused`, `SandboxFailed`, `PoolFull`."""
        check_path(path)
        if not 0 <= size <= self.settings.disk_bytes:
            raise CallRefused(f"file {path}: {size} bytes, at most {self.settings.disk_bytes}")
        try:
            async with self._sessions.use(tenant, name) as session:
                container = await self._house(session, tenant)
                await put_stream(container, path, size, pieces, longest_s=self.settings.session_idle_s)
        except SessionEnded:
            raise CallRefused(f"session {name}: it was ended meanwhile") from None

    async def get_file(
        self, tenant: str, name: str, path: str, *, most_bytes: int | None = None
    ) -> AsyncIterator[bytes]:
        """Stream a regular file out of a session. Raises `CallRefused` for anything else."""
        check_path(path)
        found = self._sessions.get((tenant, name))
        if found is None or found.container is None:
            raise CallRefused(f"session {name}: there is none, so it has no files")
        # A reader that stops reading would keep its session from everybody, for ever.
        loop = asyncio.get_running_loop()
        bound = loop.call_later(self.settings.session_idle_s, self._sessions.end, tenant, name)
        try:
            async with self._sessions.use(tenant, name) as session:
                if session.container is None:
                    raise CallRefused(f"session {name}: its container is gone, and its files with it")
                most = self.settings.disk_bytes if most_bytes is None else most_bytes
                async with aclosing(get_stream(session.container, path, most_bytes=most)) as stream:
                    async for piece in stream:
                        yield piece
        except SessionEnded:
            raise CallRefused(f"session {name}: it was ended meanwhile") from None
        finally:
            bound.cancel()


def _tell_spent(batch: Batch) -> dict[str, float]:
    wall_s = time.monotonic() - batch.began
    return {"queue_ms": round(batch.waited_s * 1e3, 3), "wall_ms": round(wall_s * 1e3, 3)}
