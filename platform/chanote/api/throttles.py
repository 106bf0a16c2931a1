"""Limits on requests, counted over all processes without a write for each request.

Every process counts by itself and adds to the shared counter in steps of a twentieth of the limit, so that the limit
holds within a step for each process.
"""

import time
from typing import Any

from django.conf import settings
from django.core.cache import cache
from rest_framework.permissions import SAFE_METHODS
from rest_framework.throttling import BaseThrottle

WINDOW = 60
STEPS = 20


class Meter:
    """Requests in this window, by caller and kind."""

    def __init__(self) -> None:
        self._window = 0
        self._own: dict[str, int] = {}
        self._all: dict[str, int] = {}

    def forget(self) -> None:
        """Count from nothing, for this process."""
        self._window, self._own, self._all = 0, {}, {}

    def admit(self, caller: str, kind: str) -> int:
        """0, or the seconds until the next window when the limit is reached."""
        limit = settings.API_REQUESTS_PER_MINUTE[kind]
        now = time.time()
        window = int(now // WINDOW)
        if window != self._window:
            self._window, self._own, self._all = window, {}, {}
        name = f"api-{kind}-{caller}-{window}"
        step = max(1, limit // STEPS)
        self._own[name] = self._own.get(name, 0) + 1
        if self._own[name] >= step:
            cache.add(name, 0, timeout=2 * WINDOW)
            self._all[name] = cache.incr(name, self._own[name])
            self._own[name] = 0
        if self._all.get(name, 0) + self._own[name] > limit:
            return max(1, int((window + 1) * WINDOW - now) + 1)
        return 0


METER = Meter()


class PerMinute(BaseThrottle):
    """Reads and writes of one user are limited apart from each other."""

    def __init__(self) -> None:
        self._wait = 0

    def allow_request(self, request: Any, view: Any) -> bool:
        caller = str(request.user.pk) if request.user.is_authenticated else self.get_ident(request)
        self._wait = METER.admit(caller, "read" if request.method in SAFE_METHODS else "write")
        return not self._wait

    def wait(self) -> float:
        return float(self._wait)
