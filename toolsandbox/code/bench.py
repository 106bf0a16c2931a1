"""What the code tools cost beside a bare `python3 -c` and beside `docker run --rm`, measured in turns.

Turns, because a shared machine drifts: every round runs each way once, in changing order, and only ratios within a
round are compared.
"""

import asyncio
import random
import shutil
import statistics
import time
from collections.abc import Awaitable, Callable

from toolsandbox.code.batches import FunctionCall
from toolsandbox.code.hardening import NOBODY
from toolsandbox.code.settings import CodeSettings
from toolsandbox.code.workshop import Workshop

SOURCE = "print(1 + 1)"
FUNCTION = "def answer(n):\n    return n + 1\n"
AT_ONCE = 8


async def run_bare(_: int = 0) -> None:
    """A fresh interpreter without any isolation: the floor that users know."""
    python = shutil.which("python3", path="/usr/bin:/bin") or "python3"
    process = await asyncio.create_subprocess_exec(
        python, "-I", "-S", "-c", SOURCE, stdout=asyncio.subprocess.PIPE, env={"PATH": "/usr/bin:/bin"}
    )
    said, _error = await process.communicate()
    if said != b"2\n":
        raise RuntimeError(f"the bare interpreter answered {said!r}")


async def run_docker(workshop: Workshop) -> None:
    """The usual way: a container per call, made and removed by the command line."""
    options = [
        "--rm",
        "--network",
        "none",
        "--read-only",
        "--user",
        NOBODY,
        "--cap-drop",
        "ALL",
        "--log-driver",
        "none",
    ]
    process = await asyncio.create_subprocess_exec(
        *("docker", "-H", f"unix://{workshop.settings.socket}", "run", *options, workshop.image),
        *("/usr/bin/python3", "-I", "-S", "-c", SOURCE),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _error = await process.communicate()
    if said != b"2\n":
        raise RuntimeError(f"docker run answered {said!r}")


async def run_warm(workshop: Workshop) -> float:
    """Seconds to the first byte of the result."""
    answer = await workshop.run(SOURCE)
    if answer.stdout != "2\n" or answer.first_output_ms is None:
        raise RuntimeError(f"tier A answered {answer.status} {answer.message}")
    return (answer.queue_ms + answer.first_output_ms) / 1e3


async def time_one(action: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await action()
    return time.perf_counter() - began


async def wait_warm(workshop: Workshop) -> None:
    """Until the pool is full and the last container is removed: replenishing belongs to the throughput, not here."""
    while workshop.pool.ready < workshop.pool.warm or workshop.pool.leased:
        await asyncio.sleep(0.01)


async def measure_tier_a(workshop: Workshop, *, rounds: int) -> dict[str, float]:
    """Milliseconds of one call at concurrency 1, medians.

    The ratio compares the first byte of the result with the whole of a bare call, within a round.
    """
    first: list[float] = []

    async def warm() -> None:
        first.append(await run_warm(workshop))

    ways: dict[str, Callable[[], Awaitable[None]]] = {
        "bare": run_bare,
        "tier_a": warm,
        "docker_run": lambda: run_docker(workshop),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    order = list(ways)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            await wait_warm(workshop)
            times[name].append(await time_one(ways[name]))
    ratios = [ours / bare for ours, bare in zip(first, times["bare"], strict=True)]
    return {
        "sandbox.tier_a_ratio": statistics.median(ratios),
        "sandbox.tier_a_first_ms": statistics.median(first) * 1e3,
        **{f"sandbox.{name}_ms": statistics.median(values) * 1e3 for name, values in times.items()},
    }


async def measure_tier_b(workshop: Workshop, *, rounds: int, calls: int) -> dict[str, float]:
    """Calls per second, eight at a time, of batches and of bare interpreters; the median ratio within a round."""
    ratios, ours, bare = [], [], []
    for _ in range(rounds):
        batch = [FunctionCall(source=FUNCTION, function="answer", arguments=[number]) for number in range(calls)]
        began = time.perf_counter()
        answers = await workshop.run_batch(batch)
        ours.append(calls / (time.perf_counter() - began))
        if [answer.value for answer in answers] != list(range(1, calls + 1)):
            raise RuntimeError("a batch answered wrongly")
        began = time.perf_counter()
        places = asyncio.Semaphore(AT_ONCE)

        async def one(places: asyncio.Semaphore = places) -> None:
            async with places:
                await run_bare()

        await asyncio.gather(*(one() for _ in range(calls)))
        bare.append(calls / (time.perf_counter() - began))
        ratios.append(ours[-1] / bare[-1])
    return {
        "sandbox.tier_b_ratio": statistics.median(ratios),
        "sandbox.tier_b_per_s": statistics.median(ours),
        "sandbox.bare_per_s": statistics.median(bare),
    }


async def bench_code(settings: CodeSettings, *, rounds: int = 20) -> dict[str, float]:
    """All figures of the code tools. Raises `EngineError` without an engine or image."""
    workshop = Workshop(settings)
    await workshop.open()
    try:
        figures = await measure_tier_a(workshop, rounds=rounds)
        return figures | await measure_tier_b(workshop, rounds=max(3, rounds // 4), calls=200)
    finally:
        await workshop.close()
