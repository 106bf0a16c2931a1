"""Idempotency: a call that is repeated with its key gets the first reply, also while the first still runs."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from toolsandbox.contract import CallReply


class KeyReused(Exception):
    """The key was used before for other arguments."""


class Replays:
    """Replies by (tenant, tool, key), kept for `keep_s` seconds after they were asked for, at most `capacity` of them
    and `room` characters: a program's output may be a megabyte.

    A reply that is `retryable` is forgotten at once: the next attempt with the same key runs again.
    """

    def __init__(self, *, capacity: int = 10_000, keep_s: float = 600.0, room: int = 256 << 20) -> None:
        self._capacity = capacity
        self._room = room
        self._sizes: dict[tuple[str, str, str], int] = {}
        self._taken = 0
        self._keep_s = keep_s
        self._calls: OrderedDict[tuple[str, str, str], tuple[bytes, asyncio.Task[CallReply], float]] = OrderedDict()

    async def once(
        self, key: tuple[str, str, str], digest: bytes, run: Callable[[], Awaitable[CallReply]]
    ) -> CallReply:
        """Run the call, or join the one that has this key. A caller that goes away does not stop the call."""
        self._drop_old()
        kept = self._calls.get(key)
        if kept is not None:
            if kept[0] != digest:
                raise KeyReused(f"idempotency_key {key[2]!r} was used before with other arguments; use a new key")
            return await asyncio.shield(kept[1])
        task = asyncio.ensure_future(run())
        self._calls[key] = (digest, task, time.monotonic())
        task.add_done_callback(lambda done: self._settle(key, done))
        return await asyncio.shield(task)

    def _settle(self, key: tuple[str, str, str], task: asyncio.Task[CallReply]) -> None:
        """Forget a call that failed; of another, note what its reply takes."""
        failed = task.cancelled() or task.exception() is not None or task.result().result.retryable
        kept = self._calls.get(key)
        if kept is None or kept[1] is not task:
            return
        if failed:
            self._forget(key)
        else:
            self._sizes[key] = len(task.result().result.model_dump_json())
            self._taken += self._sizes[key]
            self._drop_old()

    def _forget(self, key: tuple[str, str, str]) -> None:
        del self._calls[key]
        self._taken -= self._sizes.pop(key, 0)

    def _drop_old(self) -> None:
        """Oldest first; a call that still runs stays, whatever its age."""
        horizon = time.monotonic() - self._keep_s
        full = len(self._calls) >= self._capacity or self._taken > self._room
        if not full and next(iter(self._calls.values()), (b"", None, math.inf))[2] > horizon:
            return
        for key, (_, task, begun) in list(self._calls.items()):
            if begun > horizon and len(self._calls) < self._capacity and self._taken <= self._room:
                return
            if task.done():
                self._forget(key)
