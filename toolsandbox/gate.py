"""A bounded, fair queue: a few calls run at once, some wait, tenants take turns, the rest hear so at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from toolsandbox.tools import Overloaded
from toolsandbox.turns import Turns


class Gate:
    """Lets `running` calls through at once; `waiting` more may queue, each tenant at most half of those places.

    The next to run comes from the tenant whose turn was longest ago, so one tenant's flood delays another's call by
    one call, not by the whole flood.
    """

    def __init__(self, *, running: int, waiting: int) -> None:
        self._free = running
        self._places = waiting
        self._places_each = max(1, waiting // 2) if waiting else 0
        self._turns: Turns[None] = Turns()
        self.in_flight = 0

    @property
    def waiting(self) -> int:
        return len(self._turns)

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
        if self.waiting >= self._places or self._turns.count(tenant) >= self._places_each:
            raise Overloaded("all places are taken and the queue is full; ask again later")
        turn = self._turns.join(tenant)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            else:
                self._turns.leave(tenant, turn)
            raise

    def _leave(self) -> None:
        """Hand the place to the next tenant in turn, or keep it free."""
        if turn := self._turns.call_next():
            turn.set_result(None)
        else:
            self._free += 1
