"""The service dies in the middle of calls: what it left ends by itself and is removed by the next one."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox_engine import IMAGE, SOCKET, list_left, open_workshop
from toolsandbox.code.engine import Engine

pytestmark = pytest.mark.docker

SERVICE = """
import asyncio, sys
from pathlib import Path
from toolsandbox.code.settings import CodeSettings
from toolsandbox.code.workshop import Workshop

async def main():
    settings = CodeSettings(socket=Path(sys.argv[1]), image=sys.argv[2], owner="test-chaos", warm=2, longest_wait_s=120)
    workshop = Workshop(settings)
    await workshop.open()
    code = "import time\\nwhile True: time.sleep(0.01)"
    limits = workshop.choose_limits(wall_s=60)
    calls = [asyncio.create_task(workshop.run(code, limits=limits, session=f"s{n}")) for n in range(6)]
    while sum(s.container is not None for s in workshop._sessions.values()) < 6:
        await asyncio.sleep(0.01)
    print("running", flush=True)
    await asyncio.gather(*calls)

asyncio.run(main())
"""


async def count_running(identities: list[str]) -> int:
    found = [await Engine(SOCKET).inspect(identity) for identity in identities]
    return sum(each is not None and each["State"]["Running"] for each in found)


async def test_a_killed_service_leaves_nothing_that_runs_and_nothing_after_the_next_start():
    async with open_workshop("chaos-gate", warm=1):
        pass  # skips where there is no engine or no image
    repository = Path(__file__).resolve().parents[2]
    service = subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(SOCKET), IMAGE], cwd=repository, stdout=subprocess.PIPE, text=True
    )
    assert service.stdout is not None
    try:
        with service.stdout as output:
            assert await asyncio.to_thread(output.readline) == "running\n"
            service.send_signal(signal.SIGKILL)
            service.wait()
    finally:
        service.kill()
        service.wait()
    left = await list_left("chaos")
    assert len(left) >= 6
    # Their input ended with the service, and their first process ends with its input, call or no call.
    async with asyncio.timeout(60):
        while await count_running(left):
            await asyncio.sleep(0.05)
    async with open_workshop("chaos", warm=1) as next_one:
        assert set(left) & set(await list_left("chaos")) == set()
        assert (await next_one.run("print('serves')")).stdout == "serves\n"
    assert await list_left("chaos") == []


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
