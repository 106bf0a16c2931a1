"""Those who wait for a container, a bounded number of them."""

import asyncio
from collections.abc import Callable

from toolsandbox import turns
from toolsandbox.turns import Thing


class Turns(turns.Turns[Thing]):
    """At most `places` wait. When all are taken, whoever comes from a tenant with a shorter queue gets the place of
    the last in the longest one, who is turned away with `refusal`."""

    def __init__(self, places: int, *, refusal: Callable[[], Exception]) -> None:
        super().__init__()
        self._places = places
        self._refusal = refusal

    def join(self, tenant: str) -> asyncio.Future[Thing]:
        """A place in the queue. Raises the refusal."""
        if len(self) >= self._places:
            self._make_room(tenant)
        return super().join(tenant)

    def _make_room(self, tenant: str) -> None:
        longest = max(self._queues, key=self.count, default=tenant)
        if longest == tenant or self.count(longest) <= self.count(tenant) + 1:
            raise self._refusal()
        turned_away = self._queues[longest][-1]
        self.leave(longest, turned_away)
        if not turned_away.done():
            turned_away.set_exception(self._refusal())
