"""The code tools as the service calls them: a pool, sessions, a reaper, and one terminal status per call."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from toolsandbox.code.answers import CaseVerdict, CodeAnswer, TestsAnswer, ValueAnswer
from toolsandbox.code.batches import FunctionCall, run_batch, seat_workers
from toolsandbox.code.container import Call, Container, ContainerDied, SandboxFailed, name_outcome
from toolsandbox.code.engine import Engine, EngineError
from toolsandbox.code.hardening import OWNER_LABEL, build_spec, digest_policy
from toolsandbox.code.pool import Pool, PoolFull
from toolsandbox.code.programs import write_command
from toolsandbox.code.reaper import reap
from toolsandbox.code.settings import CallLimits, CodeSettings
from toolsandbox.code.verdicts import TestsRefused, judge, parse_tests

LANGUAGES = ("python", "bash", "pytest")
REAP_EVERY_S = 60.0
__all__ = ["CallRefused", "PoolFull", "Workshop"]


class CallRefused(Exception):
    """The request cannot be run as it is; the message says what to change."""


@dataclass
class OpenSession:
    """One trajectory and its container. Calls of one session run one after another."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    container: Container | None = None
    began_at: float = 0.0
    used_at: float = 0.0


class Workshop:
    def __init__(self, settings: CodeSettings, engine: Engine | None = None) -> None:
        self.settings = settings
        self.engine = engine or Engine(settings.socket)
        self.image = ""
        self.image_digest = ""
        self.policy_digest = digest_policy(settings)
        self.no_cgroups = ""
        """Why calls of a batch have no cgroup of their own; empty where they have."""
        self._sessions: dict[tuple[str, str], OpenSession] = {}
        self._held: set[str] = set()
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

    async def close(self) -> None:
        """Leave no container."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        for key in list(self._sessions):
            self._forget_session(key)
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
        spec = build_spec(self.settings, image=self.image, program=command, life_s=life_s, for_batches=for_batches)
        container = await Container.start(self.engine, spec)
        self._held.add(container.identity)
        container.on_destroyed = self._held.discard
        return container

    async def _keep_house(self) -> None:
        last_reap = time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            now = time.monotonic()
            for key, session in list(self._sessions.items()):
                idle = now - session.used_at > self.settings.session_idle_s
                old = now - session.began_at > self.settings.session_life_s
                if (idle or old) and not session.lock.locked():
                    self._forget_session(key)
            await asyncio.gather(self.pool.drop_dead(), self.batch_pool.drop_dead())
            if now - last_reap >= REAP_EVERY_S:
                last_reap = now
                try:
                    await reap(self.engine, owner=self.settings.owner, held=set(self._held))
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

    # ---- sessions ----

    def _forget_session(self, key: tuple[str, str]) -> None:
        session = self._sessions.pop(key)
        if session.container is not None:
            self.discard(session.container)
            session.container = None

    async def end_session(self, tenant: str, session: str) -> bool:
        """End a trajectory's container; a call that runs in it ends as `killed`. Answers whether there was one."""
        if (tenant, session) not in self._sessions:
            return False
        self._forget_session((tenant, session))
        return True

    async def _lease(self, tenant: str, name: str) -> OpenSession:
        """The session of this tenant; another tenant's session of the same name is another session."""
        key = (tenant, name)
        session = self._sessions.get(key)
        if session is None:
            now = time.monotonic()
            session = self._sessions[key] = OpenSession(began_at=now, used_at=now)
        return session

    # ---- calls ----

    def choose_limits(
        self, *, wall_s: float | None = None, cpu_s: float | None = None, output_bytes: int | None = None
    ) -> CallLimits:
        """Limits of one call. Raises `CallRefused`: nothing asked for is silently clamped."""
        usual = self.settings.limits
        wall = usual.wall_s if wall_s is None else wall_s
        most = self.settings.most_wall_s
        if isinstance(wall, bool) or not 0 < wall <= most:
            raise CallRefused(f"timeout: {wall!r} is not between 0 and {most:g} seconds; 0 does not mean `no limit`")
        cpu = max(usual.cpu_s, wall) if cpu_s is None else cpu_s
        if not 0 < cpu <= 600:
            raise CallRefused(f"cpu time: {cpu!r} is not between 0 and 600 seconds")
        room = usual.output_bytes if output_bytes is None else output_bytes
        if not 0 < room <= 64 << 20:
            raise CallRefused(f"output: {room!r} is not between 1 and {64 << 20} bytes")
        return CallLimits(wall_s=wall, cpu_s=cpu, output_bytes=room, value_bytes=usual.value_bytes)

    def _check(self, call: Call) -> str | None:
        if call.kind not in (*LANGUAGES, "value"):
            return f"language: {call.kind!r} is not one of {', '.join(LANGUAGES)}"
        size = len(call.code.encode("utf-8", "surrogatepass")) + len(call.expression.encode("utf-8", "surrogatepass"))
        if size > self.settings.most_program_bytes:
            return f"code: {size} bytes, at most {self.settings.most_program_bytes}"
        if len(call.stdin) > self.settings.most_stdin_bytes:
            return f"stdin: {len(call.stdin)} bytes, at most {self.settings.most_stdin_bytes}"
        return None

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
        refusal = self._check(call)
        if refusal:
            return self._answer("rejected", message=refusal)
        if session is None:
            return await self._run_alone(call)
        return await self._run_in_session(call, await self._lease(tenant, session))

    def _answer(self, status: str, **facts: object) -> CodeAnswer:
        facts = {"image_digest": self.image_digest, "policy_digest": self.policy_digest, **facts}
        return CodeAnswer.model_validate({"status": status, **facts})

    async def _take(self) -> Container:
        return await self.pool.take()

    async def _run_alone(self, call: Call) -> CodeAnswer:
        asked = time.monotonic()
        try:
            container = await self._take()
        except SandboxFailed as failed:
            return self._answer("infra_error", message=str(failed))
        queue_ms = (time.monotonic() - asked) * 1e3
        try:
            answer = await self._run_on(container, call)
        finally:
            self.discard(container)
        return answer.model_copy(update={"queue_ms": round(queue_ms, 3)})

    async def _run_in_session(self, call: Call, session: OpenSession) -> CodeAnswer:
        asked = time.monotonic()
        async with session.lock:
            if session.container is not None and not session.container.is_connected:
                # It died between two calls: that is not this call's doing, and its files are gone.
                self.discard(session.container)
                session.container = None
                return self._answer("infra_error", session_lost=True, message="the session's container is gone")
            if session.container is None:
                try:
                    session.container = await self._take()
                except SandboxFailed as failed:
                    return self._answer("infra_error", message=str(failed))
            queue_ms = (time.monotonic() - asked) * 1e3
            container = session.container
            try:
                answer = await self._run_on(container, call)
            finally:
                session.used_at = time.monotonic()
                if not container.alive and session.container is container:
                    session.container = None
                    self.discard(container)
            lost = session.container is None
            return answer.model_copy(update={"queue_ms": round(queue_ms, 3), "session_lost": lost})

    async def _run_on(self, container: Container, call: Call) -> CodeAnswer:
        try:
            outcome = await container.run(call)
        except ContainerDied as died:
            return await self._explain_end(container, died)
        except (SandboxFailed, EngineError, ValueError, KeyError) as failed:
            container.alive = False
            return self._answer("infra_error", message=str(failed))
        return name_outcome(outcome, call.limits, image_digest=self.image_digest, policy_digest=self.policy_digest)

    async def _explain_end(self, container: Container, died: ContainerDied) -> CodeAnswer:
        """A container that ended in the middle of a call: out of memory as a whole, ended by us, or lost."""
        if container.discarded:
            return self._answer("killed", message="the session was ended while the call ran")
        try:
            state = await container.read_end()
        except EngineError as failed:
            return self._answer("infra_error", message=f"the container was lost: {failed}")
        if state is not None and state.get("OOMKilled"):
            return self._answer("oom", signal=9)
        return self._answer("infra_error", message=f"the container was lost: {died}")

    # ---- verdicts ----

    async def run_batch(self, calls: list[FunctionCall]) -> list[ValueAnswer]:
        """Values of pure functions, in one container of their own. Raises `PoolFull`, `SandboxFailed`."""
        if not calls:
            return []
        container = await self.batch_pool.take()
        try:
            return await run_batch(container, calls, workers=self.settings.batch_workers)
        finally:
            self.discard_batch(container)

    async def admit_verifier(self, source: str, function: str, *, good: list[Any], bad: list[Any]) -> bool:
        """Whether a written verifier may be used: exactly True for a known good answer, exactly False for a bad one.

        `good` and `bad` are its arguments. Raises `SandboxFailed` where the sandbox failed, which proves nothing.
        """
        right, wrong = await self.run_batch(
            [FunctionCall(source=source, function=function, arguments=given) for given in (good, bad)]
        )
        for answer in (right, wrong):
            if answer.status == "infra_error":
                raise SandboxFailed(answer.detail)
        return right.is_true and wrong.has_value and wrong.value is False

    async def evaluate(
        self, code: str, expressions: list[str], *, limits: CallLimits | None = None, container: Container | None = None
    ) -> list[ValueAnswer]:
        """Values of expressions after a program, each in a process of its own. Raises `PoolFull`, `SandboxFailed`."""
        own = container is None
        place = container or await self._take()
        answers = []
        try:
            for expression in expressions:
                call = Call("value", code, limits or self.settings.limits, expression=expression)
                refusal = self._check(call)
                if refusal:
                    answers.append(ValueAnswer(status="rejected", detail=refusal))
                    continue
                answers.append(await self._evaluate_one(place, call))
                if not place.alive:
                    # A killed container is replaced: the next expression did nothing wrong.
                    self.discard(place)
                    place = await self._take()
                    own = True
        finally:
            if own:
                self.discard(place)
        return answers

    async def _evaluate_one(self, container: Container, call: Call) -> ValueAnswer:
        try:
            outcome = await container.run(call)
        except ContainerDied as died:
            answer = await self._explain_end(container, died)
            return ValueAnswer(status=answer.status, detail=answer.message)
        named = name_outcome(outcome, call.limits, image_digest="", policy_digest="")
        return read_value(named, bytes(outcome.value))

    async def run_tests(self, code: str, tests: str, *, limits: CallLimits | None = None) -> TestsAnswer:
        """Judge a program by assertions whose expected side never enters the sandbox. Raises `PoolFull`."""
        try:
            cases = parse_tests(tests)
        except TestsRefused as refused:
            return TestsAnswer(status="rejected", message=str(refused))
        began = time.monotonic()
        try:
            answers = await self.evaluate(code, [case.expression for case in cases], limits=limits)
        except SandboxFailed as failed:
            return TestsAnswer(status="infra_error", message=str(failed))
        verdicts = []
        for case, answer in zip(cases, answers, strict=True):
            if answer.status in ("infra_error", "killed"):
                return TestsAnswer(status="infra_error", message=answer.detail, total=len(cases))
            if answer.status == "rejected":
                return TestsAnswer(status="rejected", message=answer.detail, total=len(cases))
            passed = answer.has_value and answer.status == "ok" and judge(case, answer.value)
            detail = answer.detail or ("" if passed else "another value")
            verdicts.append(CaseVerdict(test=case.text, passed=passed, status=answer.status, detail=detail))
        return TestsAnswer(
            status="ok",
            passed=sum(verdict.passed for verdict in verdicts),
            total=len(verdicts),
            cases=verdicts,
            wall_ms=round((time.monotonic() - began) * 1e3, 3),
        )

    # ---- files ----

    async def put_file(self, tenant: str, name: str, path: str, size: int, pieces: AsyncIterator[bytes]) -> None:
        """Stream a file into a session. Raises `CallRefused`, `SandboxFailed`, `PoolFull`."""
        check_path(path)
        if not 0 <= size <= self.settings.disk_bytes:
            raise CallRefused(f"file {path}: {size} bytes, at most {self.settings.disk_bytes}")
        session = await self._lease(tenant, name)
        async with session.lock:
            if session.container is None:
                session.container = await self._take()
            try:
                failure = await session.container.put(path, size, pieces)
            except ValueError as wrong:
                raise CallRefused(f"file {path}: {wrong}") from None
            finally:
                session.used_at = time.monotonic()
                self._drop_if_dead(session)
        if failure:
            raise CallRefused(f"file {path}: {failure}")

    async def get_file(self, tenant: str, name: str, path: str, *, most_bytes: int = 16 << 20) -> AsyncIterator[bytes]:
        """Stream a regular file out of a session. Raises `CallRefused` for anything else."""
        check_path(path)
        session = self._sessions.get((tenant, name))
        if session is None or session.container is None:
            raise CallRefused(f"session {name}: there is none, so it has no files")
        async with session.lock:
            finished = False
            try:
                async for piece in session.container.get(path, most_bytes):
                    yield piece
                finished = True
            except FileNotFoundError as missing:
                finished = True
                raise CallRefused(f"file {path}: {missing}") from None
            finally:
                # A reader that went away in the middle leaves frames on the line.
                if not finished:
                    session.container.alive = False
                session.used_at = time.monotonic()
                self._drop_if_dead(session)

    def _drop_if_dead(self, session: OpenSession) -> None:
        if session.container is not None and not session.container.alive:
            self.discard(session.container)
            session.container = None


def read_value(named: CodeAnswer, raw: bytes) -> ValueAnswer:
    """The value that a call answered, if it ended well and sent one."""
    last = named.stderr.strip().splitlines()[-1:] or [""]
    if named.status != "ok":
        return ValueAnswer(status=named.status, detail=last[0][:500], wall_ms=named.wall_ms)
    try:
        told = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return ValueAnswer(status="error", detail="the program ended without an answer", wall_ms=named.wall_ms)
    if not isinstance(told, dict) or "value" not in told:
        detail = str(told.get("refused", "no value"))[:500] if isinstance(told, dict) else "no value"
        return ValueAnswer(status="error", detail=detail, wall_ms=named.wall_ms)
    return ValueAnswer(status="ok", value=told["value"], has_value=True, wall_ms=named.wall_ms)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def check_path(path: str) -> None:
    """Only plain relative paths. Raises `CallRefused`."""
    parts = path.split("/")
    wrong = not path or len(path.encode("utf-8", "surrogatepass")) > 512 or "\0" in path or not path.isprintable()
    if wrong or any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts) or len(parts) > 16:
        raise CallRefused(f"file {path[:80]!r}: a relative path of up to 16 plain parts is wanted")
