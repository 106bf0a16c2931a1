"""When the pool starts and removes containers, with containers that do nothing."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from toolsandbox.code import pool as pool_module
from toolsandbox.code.pool import Pool, PoolFull


class Idle:
    """Stands for a container: the pool asks no more of it than this."""

    is_connected = True

    def __init__(self) -> None:
        self.alive = True
        self.is_busy = False
        self.removed_at: float | None = None
        self.made_at = time.monotonic()

    async def destroy(self) -> None:
        self.removed_at = time.monotonic()


def make_pool(**limits: float) -> tuple[Pool, list[Idle]]:
    made: list[Idle] = []

    async def start() -> Idle:
        made.append(Idle())
        return made[-1]

    chosen = {"warm": 4, "most": 8, "starters": 2, "most_waiting": 4, "longest_wait_s": 60.0, **limits}
    return Pool(start, **chosen), made  # type: ignore[arg-type]


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.001)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def test_while_a_call_runs_nothing_is_started_or_removed_for_a_moment(monkeypatch):
    monkeypatch.setattr(pool_module, "LONGEST_DELAY_S", 0.2)

    async def check() -> None:
        pool, made = make_pool()
        pool.open()
        await until(lambda: pool.ready == 4)
        running = await pool.take()
        running.is_busy = True
        put_off_at = time.monotonic()
        ended = await pool.take()
        pool.give_up(ended)
        await until(lambda: len(made) > 4 and ended.removed_at is not None)
        # However slow the machine, never before: the call that runs has it to itself for so long.
        assert made[4].made_at - put_off_at >= 0.2
        assert ended.removed_at - put_off_at >= 0.2
        await pool.close()

    run(check)


def test_once_no_call_runs_what_was_used_goes_and_the_pool_is_filled(monkeypatch):
    monkeypatch.setattr(pool_module, "LONGEST_DELAY_S", 10**6)

    async def check() -> None:
        pool, _ = make_pool()
        pool.open()
        await until(lambda: pool.ready == 4)
        used = await pool.take()
        used.is_busy = True
        used.is_busy = False
        pool.give_up(used)
        await until(lambda: pool.ready == 4 and pool.leased == 0)
        assert used.removed_at is not None
        await pool.close()

    run(check)


def test_a_container_that_may_still_run_something_is_removed_at_once(monkeypatch):
    monkeypatch.setattr(pool_module, "LOOK_EVERY_S", 10**6)

    async def check() -> None:
        pool, _ = make_pool()
        pool.open()
        await until(lambda: pool.ready == 4)
        running = await pool.take()
        running.is_busy = True
        pool.give_up(running)
        await until(lambda: running.removed_at is not None)
        await pool.close()

    run(check)


def test_whoever_waits_makes_the_pool_work_although_calls_run(monkeypatch):
    monkeypatch.setattr(pool_module, "LOOK_EVERY_S", 10**6)

    async def check() -> None:
        pool, made = make_pool(warm=1, most=2)
        pool.open()
        for _ in range(2):
            (await pool.take()).is_busy = True
        waiting = asyncio.create_task(pool.take())
        await asyncio.sleep(0)
        made[0].is_busy = False
        pool.give_up(made[0])
        assert await waiting is made[2]
        await pool.close()

    run(check)


def test_a_full_queue_is_refused_at_once():
    async def check() -> None:
        pool, _ = make_pool(warm=1, most=1, most_waiting=1)
        pool.open()
        await pool.take()
        waiting = asyncio.create_task(pool.take())
        await until(lambda: pool.waiting == 1)
        with pytest.raises(PoolFull, match="the queue is full"):
            await pool.take()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await pool.close()

    run(check)


def test_whoever_stopped_waiting_takes_no_place_in_the_queue():
    async def check() -> None:
        pool, _ = make_pool(warm=1, most=1, most_waiting=1, longest_wait_s=0.01)
        pool.open()
        await pool.take()
        for _ in range(3):
            with pytest.raises(PoolFull, match="no sandbox came free"):
                await pool.take()
        assert pool.waiting == 0
        await pool.close()

    run(check)
