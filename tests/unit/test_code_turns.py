"""Who gets the next container, and how many sessions one tenant may hold: without an engine."""

import asyncio

import pytest

from toolsandbox.code.pool import Pool, PoolFull
from toolsandbox.code.sessions import SessionEnded, Sessions
from toolsandbox.code.settings import CodeSettings
from toolsandbox.code.turns import Turns


class Place:
    """Stands for a container."""

    is_connected = True
    is_busy = False

    def __init__(self):
        self.alive = True
        self.gone = False

    async def destroy(self):
        self.gone = True


def open_pool(**settings):
    async def start():
        return Place()

    chosen = {"warm": 1, "most": 1, "starters": 1, "most_waiting": 100, "longest_wait_s": 60.0, **settings}
    pool = Pool(start, **chosen)
    pool.open()
    return pool


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_tenants_flood_delays_another_by_one_turn_and_not_by_the_flood():
    pool, order = open_pool(), []

    async def use(tenant, name):
        place = await pool.take(tenant)
        order.append(name)
        await asyncio.sleep(0)
        pool.give_up(place)

    flood = [asyncio.create_task(use("greedy", f"g{n}")) for n in range(50)]
    await settle()
    before = len(order)
    late = asyncio.create_task(use("modest", "m"))
    await asyncio.gather(*flood, late)
    # One of the flood may have had its turn already when the other came, and one more is next.
    assert order.index("m") <= before + 2
    assert [name for name in order if name != "m"] == [f"g{n}" for n in range(50)]
    await pool.close()


async def test_tenants_take_turns_one_by_one():
    turns = Turns(10, refusal=lambda: PoolFull("full"))
    joined = {f"{tenant}{n}": turns.join(tenant) for tenant in "ab" for n in range(3)}
    called = []
    while waiter := turns.call_next():
        called.append(next(name for name, other in joined.items() if other is waiter))
        waiter.set_result(None)
    assert called == ["a0", "b0", "a1", "b1", "a2", "b2"]


async def test_who_comes_with_a_shorter_queue_displaces_the_last_of_the_longest():
    turns = Turns(4, refusal=lambda: PoolFull("full"))
    greedy = [turns.join("greedy") for _ in range(4)]
    with pytest.raises(PoolFull):
        turns.join("greedy")
    turns.join("modest")
    assert [waiter.done() for waiter in greedy] == [False, False, False, True]
    with pytest.raises(PoolFull):
        greedy[3].result()
    turns.join("modest")
    with pytest.raises(PoolFull):
        greedy[2].result()
    # Two and two is fair: nobody displaces anybody any more.
    with pytest.raises(PoolFull):
        turns.join("modest")
    assert len(turns) == 4


async def test_who_stops_waiting_leaves_the_queue():
    pool = open_pool()
    held = await pool.take()
    waiting = asyncio.create_task(pool.take())
    await settle()
    assert pool.waiting == 1
    waiting.cancel()
    await settle()
    assert pool.waiting == 0
    with pytest.raises(PoolFull, match=r"no sandbox came free in 0\.01 s"):
        await pool.take(patience_s=0.01)
    assert pool.waiting == 0
    pool.give_up(held)
    await pool.close()


def open_sessions(most_each=2):
    discarded = []
    return Sessions(most_each=most_each, discard=discarded.append), discarded


async def test_a_tenant_that_holds_all_its_sessions_is_refused_and_another_is_not():
    sessions, _ = open_sessions(most_each=2)
    for name in ("one", "two"):
        async with sessions.use("greedy", name) as session:
            session.container = Place()
    with pytest.raises(PoolFull, match="2 sessions are open, as many as one tenant may have"):
        async with sessions.use("greedy", "three"):
            pass
    async with sessions.use("greedy", "one"), sessions.use("modest", "one") as other:
        other.container = Place()
    assert sessions.end("greedy", "two")
    async with sessions.use("greedy", "three") as session:
        session.container = Place()
    assert len(sessions) == 3


async def test_a_session_without_a_container_takes_no_place():
    sessions, _ = open_sessions(most_each=1)
    for name in ("a", "b", "c"):
        async with sessions.use("t", name):
            pass
    assert len(sessions) == 0


async def test_who_waits_in_a_session_that_is_ended_gets_no_container():
    sessions, discarded = open_sessions()
    holds = asyncio.Event()
    ended = []

    async def first():
        async with sessions.use("t", "s") as session:
            session.container = Place()
            await holds.wait()

    async def second():
        try:
            async with sessions.use("t", "s"):
                pytest.fail("the session was ended")
        except SessionEnded:
            ended.append(True)

    tasks = [asyncio.create_task(first())]
    await settle()
    tasks.append(asyncio.create_task(second()))
    await settle()
    assert sessions.end("t", "s")
    holds.set()
    await asyncio.gather(*tasks)
    assert (ended, len(discarded), len(sessions)) == ([True], 1, 0)


async def test_idle_and_old_sessions_end_but_none_in_use():
    sessions, discarded = open_sessions()
    async with sessions.use("t", "s") as session:
        session.container = Place()
        sessions.end_old(idle_s=-1, life_s=-1)
        assert discarded == []
    sessions.end_old(idle_s=1000, life_s=1000)
    assert len(sessions) == 1
    sessions.end_old(idle_s=-1, life_s=1000)
    assert (len(sessions), len(discarded)) == (0, 1)


def test_a_tenant_never_may_hold_every_container_unless_there_is_one():
    assert CodeSettings(most_containers=64).find_most_sessions_each() == 56
    assert CodeSettings(most_containers=1).find_most_sessions_each() == 1
    assert CodeSettings(most_sessions_each=3).find_most_sessions_each() == 3
