"""Idempotency: a call that is repeated with its key gets the first reply, also while the first still runs."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from toolsandbox.contract import CallReply


class KeyReused(Exception):
    """The key was used before for other arguments."""


class Replays:
    """Replies by (tenant, tool, key), kept for `keep_s` seconds after they came, at most `capacity` of them.

    A reply that is `retryable` is forgotten at once: the next attempt with the same key runs again.
    """

    def __init__(self, *, capacity: int = 10_000, keep_s: float = 600.0) -> None:
        self._capacity = capacity
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
        task.add_done_callback(lambda done: self._forget_failed(key, done))
        return await asyncio.shield(task)

    def _forget_failed(self, key: tuple[str, str, str], task: asyncio.Task[CallReply]) -> None:
        failed = task.cancelled() or task.exception() is not None or task.result().result.retryable
        kept = self._calls.get(key)
        if failed and kept is not None and kept[1] is task:
            del self._calls[key]

    def _drop_old(self) -> None:
        """Oldest first; a call that still runs stays, whatever its age."""
        horizon = time.monotonic() - self._keep_s
        for key, (_, task, begun) in list(self._calls.items()):
            if begun > horizon and len(self._calls) < self._capacity:
                return
            if task.done():
                del self._calls[key]
