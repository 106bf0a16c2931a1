"""What dies behind the service's back, the service itself included: nothing is lost silently, and nothing is left."""

import asyncio
import contextlib
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.private_engine import NoEngine, PrivateEngine
from tests.sandbox_engine import IMAGE, PRIVATE, SOCKET, list_left, open_workshop, why_no_engine
from tests.sandbox_service import RunningService, headers_of, run_service
from toolsandbox.code.engine import Engine
from toolsandbox.code.hardening import build_spec
from toolsandbox.code.reaper import reap

pytestmark = pytest.mark.docker


def open_client(service: RunningService) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=100)
    return httpx.AsyncClient(
        base_url=service.url, headers=headers_of("one"), trust_env=False, timeout=280, limits=limits
    )


async def ask(http: httpx.AsyncClient, code: str, session: str | None = None) -> dict[str, Any]:
    reply = await http.post("/v1/tools/run_python", json={"arguments": {"code": code}, "session": session})
    assert reply.status_code == 200, reply.text
    return dict(reply.json()["result"])


async def until(http: httpx.AsyncClient, holds: Callable[[dict[str, Any]], bool]) -> None:
    """Wait until the service's health says so."""
    async with asyncio.timeout(120):
        while not holds((await http.get("/readyz")).json()["parts"]["CodeProvider"]["facts"]):
            await asyncio.sleep(0.05)


async def count_running(identities: list[str]) -> int:
    found = [await Engine(SOCKET).inspect(identity) for identity in identities]
    return sum(each is not None and each["State"]["Running"] for each in found)


async def test_a_service_killed_in_the_middle_of_fifty_calls_leaves_nothing_that_runs(tmp_path):
    """Containers end by themselves with the connection of their service; the next service removes them."""
    settings = {"warm": 2, "most_containers": 8, "starters": 4}
    with run_service(tmp_path, owner="chaos", **settings) as service:
        async with open_client(service) as http:
            code = "import time\nwhile True: time.sleep(0.01)"
            calls = [asyncio.create_task(ask(http, code, f"s{n}" if n % 10 == 0 else None)) for n in range(50)]
            await until(http, lambda facts: facts["leased"] == 8 and facts["waiting"] >= 42)
            service.process.send_signal(signal.SIGKILL)
            ended = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(each, httpx.HTTPError) for each in ended)
    left = await list_left("chaos")
    assert len(left) >= 8
    async with asyncio.timeout(60):
        while await count_running(left):
            await asyncio.sleep(0.05)
    with run_service(tmp_path, owner="chaos", **settings) as service:
        # It serves only after what was left is gone.
        assert set(left) & set(await list_left("chaos")) == set()
        async with open_client(service) as http:
            assert (await ask(http, "print('serves')"))["text"] == "serves"
    assert await list_left("chaos") == []


async def test_half_the_pool_killed_while_it_waits_costs_no_call(tmp_path):
    engine = Engine(SOCKET)
    with run_service(tmp_path, owner="half", warm=6, most_containers=12, starters=4) as service:
        async with open_client(service) as http:
            await until(http, lambda facts: facts["warm"] == 6)
            for identity in (await list_left("half"))[::2]:
                await engine.kill(identity)
            answers = await asyncio.gather(*(ask(http, f"print({n})") for n in range(12)))
            for number, answer in enumerate(answers):
                said = (answer["status"], answer["text"], answer["retryable"])
                # One that died in the very moment of its call is our failure, and said to be.
                assert said == ("ok", f"{number}", False) or said[0::2] == ("infra_error", True), answer
            assert sum(answer["status"] == "ok" for answer in answers) >= 6
            await until(http, lambda facts: facts["warm"] == 6)
            again = await asyncio.gather(*(ask(http, f"print({n})") for n in range(6)))
            assert [answer["text"] for answer in again] == [str(n) for n in range(6)]
    assert await list_left("half") == []


async def test_half_the_containers_killed_in_the_middle_of_their_calls_are_our_failure(tmp_path):
    engine = Engine(SOCKET)
    settings = {"warm": 1, "most_containers": 8, "starters": 4, "limits": {"wall_s": 250.0}}
    with run_service(tmp_path, owner="middle", **settings) as service:
        async with open_client(service) as http:
            users = await asyncio.gather(*(ask(http, "import os\nprint(os.getuid())", f"s{n}") for n in range(6)))
            # Every container has a user of its own, which tells whose it is.
            containers = {}
            for identity in await list_left("middle"):
                if found := await engine.inspect(identity):
                    containers[found["Config"]["User"].split(":")[0]] = identity
            sleeping = "import time\nwhile True: time.sleep(0.01)"
            calls = [asyncio.create_task(ask(http, sleeping, f"s{n}")) for n in range(6)]
            for user in users[::2]:
                await engine.kill(containers[user["text"]])
            ended = await asyncio.gather(*calls[::2])
            assert {(answer["status"], answer["retryable"]) for answer in ended} == {("infra_error", True)}
            assert not any(call.done() for call in calls[1::2])
            for call in calls[1::2]:
                call.cancel()
            await asyncio.gather(*calls[1::2], return_exceptions=True)
            answers = await asyncio.gather(*(ask(http, "print('again')", f"s{n}") for n in range(6)))
            assert {answer["text"].splitlines()[0] for answer in answers} == {"again"}
    assert await list_left("middle") == []


async def test_an_engine_that_stops_is_an_infra_error_until_it_is_back(tmp_path):
    """The daemon itself is stopped and started again below a service that runs on."""
    if reason := why_no_engine():
        pytest.skip(reason)
    engine = PrivateEngine(PRIVATE.folder.with_name(f"{PRIVATE.folder.name}-c"))
    try:
        try:
            engine.start()
        except NoEngine as reason:
            pytest.skip(str(reason))
        engine.load_image(IMAGE)
        idle = set(engine.list_processes())
        settings = {"socket": engine.socket, "warm": 2, "most_containers": 6}
        with run_service(tmp_path, owner="restart", **settings) as service:
            async with open_client(service) as http:
                assert (await ask(http, "x = 1\nprint(x)", "kept"))["text"] == "1"
                running = asyncio.create_task(ask(http, "import time\nwhile True: time.sleep(0.01)"))
                await until(http, lambda facts: facts["leased"] == 2)
                await asyncio.to_thread(engine.stop_daemon)
                assert (await running)["status"] == "infra_error"
                answers = [await ask(http, "print(x)", session) for session in ("kept", None, "new", None)]
                assert {(answer["status"], answer["retryable"]) for answer in answers} == {("infra_error", True)}
                assert all(answer["text"] for answer in answers)
                assert (await http.get("/livez")).status_code == 200
                await asyncio.to_thread(engine.start)
                async with asyncio.timeout(120):
                    while (await ask(http, "print(2)"))["status"] != "ok":
                        await asyncio.sleep(0.1)
                await until(http, lambda facts: facts["warm"] == 2)
                seen = await ask(http, "print('x' in globals())", "kept")
                assert seen["text"].splitlines()[0] == "False"
                assert (await http.get("/readyz")).status_code == 200
        assert engine.run_docker("ps", "--all", "--quiet").stdout.split() == []
        began = time.monotonic()
        while (len(engine.list_processes()) > len(idle)) and time.monotonic() - began < 60:
            await asyncio.sleep(0.1)
        assert len(engine.list_processes()) == len(idle)
    finally:
        await asyncio.to_thread(engine.remove)
    assert engine.list_left() == []


async def test_a_host_whose_disk_is_full_is_an_infra_error_until_there_is_room(tmp_path):
    """The engine's own folder lies on a small disk here, which the test fills and empties."""
    if reason := why_no_engine():
        pytest.skip(reason)
    engine = PrivateEngine(PRIVATE.folder.with_name(f"{PRIVATE.folder.name}-d"))
    engine.folder.mkdir(mode=0o700)
    (engine.folder / "data").mkdir()
    disk = ["mount", "-t", "tmpfs", "-o", "size=400m", "none", str(engine.folder / "data")]
    try:
        if subprocess.run(disk, check=False, capture_output=True).returncode:
            pytest.skip("no disk can be mounted here; run as root")
        try:
            engine.start()
        except NoEngine as reason:
            pytest.skip(str(reason))
        engine.load_image(IMAGE)
        filling = engine.folder / "data/filling"
        with run_service(tmp_path, owner="full", socket=engine.socket, warm=1, most_containers=4) as service:
            async with open_client(service) as http:
                assert (await ask(http, "print(1)"))["status"] == "ok"
                with filling.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(1 << 16))
                # The one that waits is still good; then there is no other.
                answers = [await ask(http, "print(1)") for _ in range(4)]
                assert {answer["status"] for answer in answers} <= {"ok", "infra_error"}
                assert (answers[-1]["status"], answers[-1]["retryable"]) == ("infra_error", True)
                filling.unlink()
                async with asyncio.timeout(120):
                    while (await ask(http, "print(2)"))["status"] != "ok":
                        await asyncio.sleep(0.1)
        assert engine.run_docker("ps", "--all", "--quiet").stdout.split() == []
    finally:
        await asyncio.to_thread(engine.remove)
    assert engine.list_left() == []


@pytest.mark.parametrize("years", [10, -10])
async def test_a_clock_that_jumps_ends_no_session_and_keeps_no_container(monkeypatch, years):
    """Time spans are counted by the clock that cannot jump; only labels, for the next service, hold wall time."""
    monkeypatch.setattr("toolsandbox.code.workshop.REAP_EVERY_S", 0.0)
    monkeypatch.setattr("toolsandbox.code.workshop.reap", reap_counted := CountedReap())
    honest = time.time
    async with open_workshop("jump", warm=1, session_idle_s=1000) as workshop:
        await workshop.run("x = 1", session="lives")
        call = asyncio.create_task(
            workshop.run("import os, time\nwhile not os.path.exists('/tmp/go'): time.sleep(0.01)", session="runs")
        )
        while not (session := workshop._sessions.get(("default", "runs"))) or session.container is None:
            await asyncio.sleep(0.01)
        monkeypatch.setattr(time, "time", lambda: honest() + years * 365 * 86400)
        seen = reap_counted.calls
        async with asyncio.timeout(60):
            while reap_counted.calls < seen + 2:
                await asyncio.sleep(0.05)
        assert reap_counted.removed == 0
        assert not call.done()
        assert (await workshop.run("print(x)", session="lives")).stdout == "1\n"
        assert (await workshop.run("print(2)")).stdout == "2\n"
        # One made under the wrong clock, and left: the next service of this owner removes it, whatever its label says.
        spec = build_spec(workshop.settings, image=workshop.image, program=["/bin/sleep", "1000"], life_s=1000)
        left = await workshop.engine.create(spec, name=f"chanote-sandbox-test-jump-{years}")
        monkeypatch.setattr(time, "time", honest)
        assert await reap(workshop.engine, owner="test-jump", held=workshop._held, at_start=True) >= 1
        assert await workshop.engine.inspect(left) is None
        assert await workshop.end_session("default", "runs")
        assert (await call).status == "killed"
    assert await list_left("jump") == []


class CountedReap:
    """The reaper itself, counted."""

    def __init__(self) -> None:
        self.calls = 0
        self.removed = 0

    async def __call__(self, *arguments: Any, **how: Any) -> int:
        removed = await reap(*arguments, **how)
        self.calls += 1
        self.removed += removed
        return removed


async def test_an_engine_that_is_away_is_an_infra_error_and_its_return_is_noticed(tmp_path):
    """The engine's socket is reached through a forwarder here, which the test closes and opens again."""
    path = tmp_path / "engine.sock"

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(str(SOCKET))
        open_writers.update((writer, there_writer))

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            try:
                while piece := await source.read(65536):
                    target.write(piece)
                    await target.drain()
            except ConnectionError:
                pass
            finally:
                target.close()

        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))

    open_writers: set[asyncio.StreamWriter] = set()
    async with open_workshop("away-gate", warm=1):
        pass
    server = await asyncio.start_unix_server(forward, str(path))
    async with open_workshop("away", socket=path, warm=1) as workshop:
        assert (await workshop.run("print(1)")).status == "ok"
        server.close()
        path.unlink(missing_ok=True)
        for writer in open_writers:
            writer.transport.abort()
        answers = [await workshop.run("print(1)") for _ in range(3)]
        assert {answer.status for answer in answers} == {"infra_error"}
        assert all(answer.retryable for answer in answers)
        server = await asyncio.start_unix_server(forward, str(path))
        async with asyncio.timeout(60):
            while (await workshop.run("print(2)")).status != "ok":
                await asyncio.sleep(0.1)
    server.close()
    for writer in open_writers:
        writer.transport.abort()
    async with open_workshop("away", warm=1):
        pass
    assert await list_left("away") == []
