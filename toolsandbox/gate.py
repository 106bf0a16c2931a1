"""A bounded, fair queue: a few calls run at once, some wait, tenants take turns, the rest hear so at once."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from toolsandbox.tools import Overloaded


class Gate:
    """Lets `running` calls through at once; `waiting` more may queue, each tenant at most half of those places.

    The next to run comes from the tenant whose turn was longest ago, so one tenant's flood delays another's call by
    one call, not by the whole flood.
    """

    def __init__(self, *, running: int, waiting: int) -> None:
        self._free = running
        self._places = waiting
        self._places_each = max(1, waiting // 2) if waiting else 0
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self.in_flight = 0

    @property
    def waiting(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    @asynccontextmanager
    async def admit(self, tenant: str) -> AsyncIterator[None]:
        """Raises `Overloaded` when no place to wait is left."""
        await self._enter(tenant)
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            self._leave()

    async def _enter(self, tenant: str) -> None:
        if self._free > 0:
            self._free -= 1
            return
        queue = self._queues.get(tenant)
        if self.waiting >= self._places or (queue is not None and len(queue) >= self._places_each):
            raise Overloaded("all places are taken and the queue is full; ask again later")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(tenant, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            else:
                self._forget(tenant, turn)
            raise

    def _leave(self) -> None:
        """Hand the place to the next tenant in turn, or keep it free."""
        while self._queues:
            tenant, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._queues[tenant] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _forget(self, tenant: str, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(tenant)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._queues[tenant]
