"""What an errand's function is given: its configuration, its directory, and a way to say how far it is."""

import threading
import time
from pathlib import Path
from typing import Any

from django.db import connection

from chanote.accounts.models import Project
from chanote.errands.leases import hold
from chanote.errands.models import Errand

REPORT_SECONDS = 0.5
"""Between two writes of the progress."""


class Stopped(Exception):
    """A person, or the end of the platform, asked the work to stop. Let it pass through."""


class WorkRefused(Exception):
    """The work cannot be done; the message is a sentence for the person who asked for it."""


class Work:
    def __init__(self, errand: Errand, fence: int, *, leaving: threading.Event | None = None) -> None:
        self.errand, self.fence = errand, fence
        self.config: dict[str, Any] = errand.config
        self.actor = errand.created_by
        self.leaving = leaving or threading.Event()
        """Set when the process is to end without the errand being stopped."""
        self._reported = 0.0
        self._costs: dict[str, float] = dict(errand.cost)
        self._lock = threading.Lock()

    @property
    def project(self) -> Project:
        return self.errand.project

    @property
    def directory(self) -> Path:
        """A folder of its own that outlives the process."""
        folder = self.errand.directory
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        return folder

    def report(self, done: int, total: int = 0, words: str = "", **costs: float) -> None:
        """Say how far the work is. `costs` are totals since its first start. Call it often; most calls write nothing.

        May be called from several threads. Raises Stopped when the work is to end, and Superseded when another
        process has taken it over.
        """
        with self._lock:
            self._costs |= costs
            self.check()
            now = time.monotonic()
            if now - self._reported < REPORT_SECONDS and not (total and done >= total):
                return
            self._reported = now
            fields: dict[str, Any] = {"done": done, "total": total, "cost": self._costs}
            if words:
                fields["words"] = words[:200]
            stop_asked = hold(self.errand.pk, self.fence, **fields)
        if stop_asked:
            raise Stopped

    def check(self) -> None:
        """Raises Stopped when the process is to end."""
        if self.leaving.is_set():
            raise Stopped


class LeaseKeeper(threading.Thread):
    """Renews the lease while the work computes for long without a report."""

    def __init__(self, errand_id: int, fence: int, every_s: float) -> None:
        super().__init__(name="lease", daemon=True)
        self.errand_id, self.fence, self.every_s = errand_id, fence, every_s
        self.ended = threading.Event()

    def run(self) -> None:
        import structlog
        from django.db import Error

        from chanote.errands.leases import Superseded

        log = structlog.get_logger(__name__)
        try:
            while not self.ended.wait(self.every_s):
                try:
                    hold(self.errand_id, self.fence)
                except Superseded:
                    return
                except Error as error:
                    # A busy database may be free at the next turn.
                    log.warning("lease of an errand not renewed", errand=self.errand_id, error=str(error))
        finally:
            connection.close()
