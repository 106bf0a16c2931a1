"""Warm containers: started before they are asked for, used once, never given to a second trajectory.

Starting and removing containers costs far more than a call, and on a machine with few cores it costs it beside the
call. So that work waits until no call runs, as long as enough containers are ready and for a moment at most.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from toolsandbox.code.container import Container, SandboxFailed
from toolsandbox.code.engine import EngineError
from toolsandbox.code.turns import Turns

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
LOOK_EVERY_S = 0.02
LONGEST_DELAY_S = 0.3
"""Work that can wait waits for a quiet moment, and no longer than this."""


class PoolFull(Exception):
    """More calls wait than the queue holds, or none came free in time. Ask again later."""


class Pool:
    """Keeps `warm` containers ready, and at most `most` in existence. Starting goes on beside the calls."""

    def __init__(
        self,
        start: Callable[[], Awaitable[Container]],
        *,
        warm: int,
        most: int,
        starters: int,
        most_waiting: int,
        longest_wait_s: float,
    ) -> None:
        self._start = start
        self.warm, self.most, self.starters = warm, most, starters
        self.longest_wait_s = longest_wait_s
        self._ready: deque[Container] = deque()
        self._leased: set[Container] = set()
        self._used: list[Container] = []
        """Given back and still to be removed; leased until then."""
        self._waiting: Turns[Container] = Turns(
            most_waiting, refusal=lambda: PoolFull("all sandboxes are busy and the queue is full")
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._put_off_since = 0.0
        self._starting = 0
        self._failures = 0
        self._pause_until = 0.0
        self.last_error = ""
        self._open = False

    @property
    def ready(self) -> int:
        return len(self._ready)

    @property
    def leased(self) -> int:
        return len(self._leased)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def open(self) -> None:
        self._open = True
        self._top_up()

    # ---- housekeeping ----

    def tend(self) -> None:
        """Remove what was used and start what is missing: now if somebody needs it, else in a quiet moment."""
        if self._is_pressing():
            self._work()
        elif self._timer is None:
            self._put_off_since = time.monotonic()
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look_again)

    def _is_pressing(self) -> bool:
        return bool(self._waiting) or 2 * len(self._ready) < self.warm or not self._open

    def _look_again(self) -> None:
        self._timer = None
        quiet = not any(container.is_busy for container in self._leased)
        overdue = time.monotonic() - self._put_off_since >= LONGEST_DELAY_S
        if quiet or overdue or self._is_pressing():
            self._work()
        else:
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look_again)

    def _work(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        used, self._used = self._used, []
        for container in used:
            self._spawn(self._destroy(container))
        self._top_up()

    def _top_up(self) -> None:
        """Start what is missing, as far as the limits allow."""
        if not self._open or time.monotonic() < self._pause_until:
            return
        missing = self.warm + len(self._waiting) - len(self._ready) - self._starting
        room = self.most - len(self._leased) - len(self._ready) - self._starting
        for _ in range(min(missing, room, self.starters - self._starting)):
            self._starting += 1
            self._spawn(self._start_one())

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start_one(self) -> None:
        try:
            container = await self._start()
        except (EngineError, SandboxFailed) as failed:
            self._starting -= 1
            self._failures += 1
            self.last_error = str(failed)
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._failures - 1, 10))
            self._pause_until = time.monotonic() + pause
            # Whoever waits is told now: an engine that is away will not be back within a call's patience.
            while waiter := self._waiting.call_next():
                waiter.set_exception(SandboxFailed(self.last_error))
            asyncio.get_running_loop().call_later(pause + 0.01, self._top_up)
            return
        except BaseException:
            self._starting -= 1
            raise
        self._starting -= 1
        self._failures, self.last_error = 0, ""
        self._offer(container)
        self._top_up()

    def _offer(self, container: Container) -> None:
        if waiter := self._waiting.call_next():
            self._leased.add(container)
            waiter.set_result(container)
        elif self._open:
            self._ready.append(container)
        else:
            self._spawn(container.destroy())

    async def _destroy(self, container: Container) -> None:
        try:
            await container.destroy()
        finally:
            self._leased.discard(container)
            self._top_up()

    # ---- for the calls ----

    async def take(self, tenant: str = "default", *, patience_s: float | None = None) -> Container:
        """A fresh container; those who wait get it in turns by tenant. Raises `PoolFull` or `SandboxFailed`."""
        while self._ready:
            container = self._ready.popleft()
            if container.is_connected:
                self._leased.add(container)
                self.tend()
                return container
            # Killed behind our back while it waited.
            self._spawn(container.destroy())
        if self.last_error and time.monotonic() < self._pause_until:
            raise SandboxFailed(self.last_error)
        longest_s = self.longest_wait_s if patience_s is None else min(patience_s, self.longest_wait_s)
        waiter = self._waiting.join(tenant)
        self._work()
        try:
            return await asyncio.wait_for(waiter, longest_s)
        except TimeoutError:
            self._stop_waiting(tenant, waiter)
            raise PoolFull(f"no sandbox came free in {longest_s:g} s") from None
        except asyncio.CancelledError:
            self._stop_waiting(tenant, waiter)
            raise

    def _stop_waiting(self, tenant: str, waiter: asyncio.Future[Container]) -> None:
        """Nobody takes what the waiter has or gets."""
        self._waiting.leave(tenant, waiter)
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            self.give_up(waiter.result())

    def give_up(self, container: Container) -> None:
        """Destroy a used container beside the calls; its place is free once the engine has removed it.

        One that may still run something is destroyed at once. After a call that ended well nothing runs in it.
        """
        if container.is_busy or not container.alive:
            container.alive = False
            self._spawn(self._destroy(container))
            return
        container.alive = False
        self._used.append(container)
        self.tend()

    async def drop_dead(self) -> None:
        """Throw out what was killed while it waited, so that a call need not find it."""
        dead = [container for container in self._ready if not container.is_connected]
        for container in dead:
            self._ready.remove(container)
        await asyncio.gather(*(container.destroy() for container in dead))
        self._top_up()

    def identities(self) -> set[str]:
        return {container.identity for container in self._ready}

    async def close(self) -> None:
        """Destroy everything and wait until it is gone."""
        self._open = False
        while waiter := self._waiting.call_next():
            waiter.set_exception(SandboxFailed("the service stops"))
        self._work()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(container.destroy() for container in self._ready))
        self._ready.clear()
