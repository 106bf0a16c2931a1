"""Those who wait, by tenant: the next is of the tenant whose turn was longest ago, so that one tenant's flood costs
another one turn."""

import asyncio
from collections import OrderedDict, deque
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Turns(Generic[Thing]):
    """Who may join is for the callers to say."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[asyncio.Future[Thing]]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def count(self, tenant: str) -> int:
        """How many of this tenant wait."""
        return len(self._queues.get(tenant, ()))

    def join(self, tenant: str) -> asyncio.Future[Thing]:
        """A place in the queue."""
        waiter: asyncio.Future[Thing] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(tenant, deque()).append(waiter)
        return waiter

    def leave(self, tenant: str, waiter: asyncio.Future[Thing]) -> None:
        """Who stops waiting. Nothing happens to one whose turn has come."""
        queue = self._queues.get(tenant)
        if queue is not None and waiter in queue:
            queue.remove(waiter)
            if not queue:
                del self._queues[tenant]

    def call_next(self) -> asyncio.Future[Thing] | None:
        """The next one, of the tenant whose turn was longest ago."""
        while self._queues:
            tenant, queue = self._queues.popitem(last=False)
            waiter = queue.popleft()
            if queue:
                self._queues[tenant] = queue
            if not waiter.done():
                return waiter
        return None
