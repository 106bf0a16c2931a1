"""Sessions: one trajectory and its container. Calls of one session run one after another."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from toolsandbox.code.container import Container
from toolsandbox.code.pool import PoolFull

Key = tuple[str, str]


class SessionEnded(Exception):
    """Somebody ended the session while this call waited for its turn in it."""


@dataclass
class OpenSession:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    container: Container | None = None
    began_at: float = field(default_factory=time.monotonic)
    used_at: float = field(default_factory=time.monotonic)
    users: int = 0
    """Calls that run in it or wait for their turn."""
    ended: bool = False


class Sessions:
    """Open sessions by (tenant, name). Another tenant's session of the same name is another session."""

    def __init__(self, *, most_each: int, discard: Callable[[Container], None]) -> None:
        self._most_each = most_each
        self._discard = discard
        self._open: dict[Key, OpenSession] = {}

    def __len__(self) -> int:
        return len(self._open)

    def get(self, key: Key) -> OpenSession | None:
        return self._open.get(key)

    def values(self) -> Iterable[OpenSession]:
        return self._open.values()

    @asynccontextmanager
    async def use(self, tenant: str, name: str) -> AsyncIterator[OpenSession]:
        """The session, opened if there is none, for this caller alone. Raises `PoolFull`, `SessionEnded`.

        One that holds no container in the end is forgotten: it takes no place of the tenant's.
        """
        key = (tenant, name)
        session = self._open.get(key) or self._open_new(key)
        session.users += 1
        try:
            async with session.lock:
                if session.ended:
                    raise SessionEnded
                yield session
        finally:
            session.users -= 1
            session.used_at = time.monotonic()
            if session.container is not None and not session.container.alive:
                self._discard(session.container)
                session.container = None
            if session.container is None and session.users == 0 and self._open.get(key) is session:
                del self._open[key]

    def _open_new(self, key: Key) -> OpenSession:
        held = sum(tenant == key[0] for tenant, _ in self._open)
        if held >= self._most_each:
            raise PoolFull(f"{held} sessions are open, as many as one tenant may have; end one, or ask again later")
        session = self._open[key] = OpenSession()
        return session

    def end(self, tenant: str, name: str) -> bool:
        """End a trajectory's container; a call that runs in it ends as `killed`. Answers whether there was one."""
        session = self._open.pop((tenant, name), None)
        if session is None:
            return False
        session.ended = True
        if session.container is not None:
            self._discard(session.container)
            session.container = None
        return True

    def end_old(self, *, idle_s: float, life_s: float) -> None:
        """End those that nobody used for `idle_s` seconds, or that are older than `life_s`, if no call runs in them."""
        now = time.monotonic()
        for key, session in list(self._open.items()):
            if session.users == 0 and (now - session.used_at > idle_s or now - session.began_at > life_s):
                self.end(*key)

    def end_all(self) -> None:
        for key in list(self._open):
            self.end(*key)
