"""What the code tools cost beside a bare `python3 -c` and beside `docker run --rm`, measured in turns.

Turns, because a shared machine drifts: every round runs each way once, in changing order, and only ratios within a
round are compared. `_low` and `_high` are the quartiles of a ratio over the rounds.
"""

import asyncio
import random
import shutil
import statistics
import time
from collections.abc import Awaitable, Callable

from toolsandbox.code.batches import FunctionCall
from toolsandbox.code.hardening import USERS
from toolsandbox.code.settings import CodeSettings
from toolsandbox.code.workshop import Workshop

SOURCE = "print(1 + 1)"
FUNCTION = "def answer(n):\n    return n + 1\n"
AT_ONCE = 8
NO_SITE = ("-I", "-S")
"""Options that spare the interpreter its search for installed packages: the least that a bare call can cost."""


async def run_bare(*options: str) -> None:
    """A fresh interpreter without any isolation: the floor that users know."""
    python = shutil.which("python3", path="/usr/bin:/bin") or "python3"
    process = await asyncio.create_subprocess_exec(
        python, *options, "-c", SOURCE, stdout=asyncio.subprocess.PIPE, env={"PATH": "/usr/bin:/bin"}
    )
    said, _ = await process.communicate()
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
        f"{USERS.start}:{USERS.start}",
        "--cap-drop",
        "ALL",
        "--log-driver",
        "none",
    ]
    process = await asyncio.create_subprocess_exec(
        *("docker", "-H", f"unix://{workshop.settings.socket}", "run", *options, workshop.image),
        *("/usr/bin/python3", *NO_SITE, "-c", SOURCE),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    if said != b"2\n":
        raise RuntimeError(f"docker run answered {said!r}")


async def run_warm(workshop: Workshop, session: str | None = None) -> float:
    """Seconds from the call to the first byte of its result."""
    answer = await workshop.run(SOURCE, session=session)
    if answer.stdout != "2\n" or answer.first_output_ms is None:
        raise RuntimeError(f"tier A answered {answer.status} {answer.message}")
    return (answer.queue_ms + answer.first_output_ms) / 1e3


async def time_one(action: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await action()
    return time.perf_counter() - began


async def wait_warm(workshop: Workshop, *, sessions: int) -> None:
    """Until the pool is full and the last container is removed: replenishing belongs to the throughput, not here."""
    while workshop.pool.ready < workshop.pool.warm or workshop.pool.leased > sessions:
        await asyncio.sleep(0.01)


async def measure_tier_a(workshop: Workshop, *, rounds: int) -> dict[str, float]:
    """One call at concurrency 1: medians of milliseconds, and of ratios to the whole of a bare call of the round."""
    first: list[float] = []

    async def warm() -> None:
        first.append(await run_warm(workshop))

    async def in_session() -> None:
        await run_warm(workshop, session="bench")

    ways: dict[str, Callable[[], Awaitable[None]]] = {
        "bare": run_bare,
        "bare_no_site": lambda: run_bare(*NO_SITE),
        "tier_a": warm,
        "session": in_session,
        "docker_run": lambda: run_docker(workshop),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    order = list(ways)
    await in_session()
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            await wait_warm(workshop, sessions=1)
            times[name].append(await time_one(ways[name]))
    await workshop.end_session("default", "bench")
    return {
        **summarize("sandbox.tier_a_ratio", first, times["bare"]),
        **summarize("sandbox.tier_a_ratio_no_site", first, times["bare_no_site"]),
        **summarize("sandbox.tier_a_whole_ratio", times["tier_a"], times["bare"]),
        **summarize("sandbox.session_ratio", times["session"], times["bare"]),
        **summarize("sandbox.docker_run_ratio", times["docker_run"], times["bare"]),
        "sandbox.tier_a_first_ms": statistics.median(first) * 1e3,
        **{f"sandbox.{name}_ms": statistics.median(values) * 1e3 for name, values in times.items()},
    }


def summarize(name: str, ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Median and quartiles of the ratio within a round."""
    low, middle, high = statistics.quantiles([our / their for our, their in zip(ours, theirs, strict=True)], n=4)
    return {name: middle, f"{name}_low": low, f"{name}_high": high}


async def run_bare_at_once(calls: int, *options: str) -> float:
    """Calls per second of bare interpreters, eight at a time."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with places:
            await run_bare(*options)

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(calls)))
    return calls / (time.perf_counter() - began)


async def run_functions(workshop: Workshop, calls: int) -> float:
    """Calls per second of a batch, as many at a time as the settings say."""
    batch = [FunctionCall(source=FUNCTION, function="answer", arguments=[number]) for number in range(calls)]
    began = time.perf_counter()
    answers = await workshop.run_batch(batch)
    took = time.perf_counter() - began
    if [answer.value for answer in answers] != list(range(1, calls + 1)):
        raise RuntimeError(f"a batch answered {answers[0].status} {answers[0].detail}")
    return calls / took


async def measure_tier_b(workshop: Workshop, *, rounds: int, calls: int) -> dict[str, float]:
    """Calls per second, eight at a time, of batches and of bare interpreters; medians, and the ratio within a round."""
    rates: dict[str, list[float]] = {"ours": [], "bare": [], "no_site": []}
    order = list(rates)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            if name == "ours":
                rates[name].append(await run_functions(workshop, calls))
            else:
                rates[name].append(await run_bare_at_once(calls, *(NO_SITE if name == "no_site" else ())))
    return {
        **summarize("sandbox.tier_b_ratio", rates["ours"], rates["bare"]),
        **summarize("sandbox.tier_b_ratio_no_site", rates["ours"], rates["no_site"]),
        "sandbox.tier_b_per_s": statistics.median(rates["ours"]),
        "sandbox.bare_per_s": statistics.median(rates["bare"]),
        "sandbox.tier_b_own_cgroups": float(not workshop.no_cgroups),
    }


async def bench_code(settings: CodeSettings, *, rounds: int = 20) -> dict[str, float]:
    """All figures of the code tools. Raises `EngineError` without an engine or image."""
    workshop = Workshop(settings)
    await workshop.open()
    try:
        figures = await measure_tier_a(workshop, rounds=rounds)
        return figures | await measure_tier_b(workshop, rounds=max(4, rounds // 3), calls=200)
    finally:
        await workshop.close()
