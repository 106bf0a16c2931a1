"""Those who wait for a container: tenants take turns, so that one tenant's flood costs another one turn."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Turns(Generic[Thing]):
    """At most `places` wait. When all are taken, whoever comes from a tenant with a shorter queue gets the place of
    the last in the longest one, who is turned away with `refusal`."""

    def __init__(self, places: int, *, refusal: Callable[[], Exception]) -> None:
        self._places = places
        self._refusal = refusal
        self._queues: OrderedDict[str, deque[asyncio.Future[Thing]]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def join(self, tenant: str) -> asyncio.Future[Thing]:
        """A place in the queue. Raises the refusal."""
        if len(self) >= self._places:
            self._make_room(tenant)
        waiter: asyncio.Future[Thing] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(tenant, deque()).append(waiter)
        return waiter

    def _make_room(self, tenant: str) -> None:
        longest = max(self._queues, key=lambda name: len(self._queues[name]), default=tenant)
        own = len(self._queues.get(tenant, ()))
        if longest == tenant or len(self._queues.get(longest, ())) <= own + 1:
            raise self._refusal()
        turned_away = self._queues[longest][-1]
        self.leave(longest, turned_away)
        if not turned_away.done():
            turned_away.set_exception(self._refusal())

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
