"""How much of a step's wall time the device did nothing: it waited for tools, judges, other processes, disks.

CPU    1 − (CPU seconds of this process) / (wall seconds · threads of torch)
GPU    1 − mean utilisation, as the driver tells it ten times a second; no figure where it does not
"""

import os
import threading
import time
from collections.abc import Callable

import torch

LOOK_SECONDS = 0.1


def idle_share(*, wall: float, busy: float, width: int = 1) -> float:
    """Of `width` units that could have been busy for `wall` seconds each, and were for `busy` seconds together: the
    share that was not. Work beside torch's own threads counts as work, and no more than all of it can be busy.
    """
    return min(1.0, max(0.0, 1.0 - busy / (wall * width))) if wall > 0 else 0.0


class Idling:
    """Adds up spans of work; what lies between them is not looked at."""

    def __init__(self, device: torch.device) -> None:
        self._gpu = _GpuLook(device) if device.type == "cuda" else None
        self._wall = self._busy = 0.0
        self._since: tuple[float, float] | None = None

    def __enter__(self) -> None:
        self._since = time.perf_counter(), self._work()

    def __exit__(self, *_: object) -> None:
        assert self._since is not None
        begun, worked = self._since
        self._wall += time.perf_counter() - begun
        self._busy += self._work() - worked
        self._since = None

    def take(self) -> float | None:
        """The idle share of the spans since the last call; None where nobody knows."""
        wall, busy, self._wall, self._busy = self._wall, self._busy, 0.0, 0.0
        if self._gpu is not None:
            return idle_share(wall=wall, busy=busy) if self._gpu.works else None
        return idle_share(wall=wall, busy=busy, width=min(torch.get_num_threads(), os.cpu_count() or 1))

    def _work(self) -> float:
        """Seconds that the device has been busy, from any beginning."""
        return self._gpu.busy if self._gpu is not None else time.process_time()

    def close(self) -> None:
        if self._gpu is not None:
            self._gpu.close()


class _GpuLook:
    """Looks at a GPU's utilisation in a thread of its own and adds up the seconds that it was busy."""

    def __init__(self, device: torch.device, read: Callable[[torch.device], int] = torch.cuda.utilization) -> None:
        self.busy = 0.0
        self.works = True
        self._device, self._read = device, read
        self._over = threading.Event()
        self.thread = threading.Thread(target=self._look, name="gpu look", daemon=True)
        self.thread.start()

    def _look(self) -> None:
        last = time.perf_counter()
        while not self._over.wait(LOOK_SECONDS):
            try:
                share = self._read(self._device) / 100
            except Exception:  # the driver's library is missing, or answers with whatever it has
                self.works = False
                return
            now = time.perf_counter()
            self.busy += share * (now - last)
            last = now

    def close(self) -> None:
        self._over.set()
