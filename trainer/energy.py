"""How much energy an attempt uses, where the machine or whoever runs it says anything about that.

CPU    measured: the counters of Intel's RAPL, which AMD has too, of whole packages and their memory, with everything
       else that runs on the machine meanwhile. They are read often enough to notice that one began again from 0.
       estimated: TRAINER_MACHINE_WATTS · (CPU seconds of this process) / (cores), if somebody set that: the watts that
       the machine without its GPUs takes when all cores work.
GPU    measured: the driver's counter by NVML, where pynvml is installed; else its power as nvidia-smi tells it every
       few seconds, integrated.

Otherwise it is unknown, and nothing is made up. GPUs of samplers that run apart are not seen from here.
"""

import contextlib
import importlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from trainer.contract.events import EnergyPart

POWERCAP = Path("/sys/class/powercap")
WATTS = "TRAINER_MACHINE_WATTS"
LOOK_SECONDS = 10.0
"""Between looks at counters. The smallest ones begin again after 262 kJ, which is minutes under any load."""
ANSWER_SECONDS = 10


class Source(Protocol):
    """Something that says how many joules were used since it was opened. `joules` is None once that is not known."""

    words: str
    joules: float | None

    def look(self) -> None: ...


class RaplZone:
    """One counter of powercap: microjoules that begin again from 0 after `max_energy_range_uj`."""

    def __init__(self, path: Path) -> None:
        """Raises OSError or ValueError when it cannot be read."""
        self.path = path
        self.words = (path / "name").read_text(encoding="ascii").strip()
        self.joules: float | None = 0.0
        self._range = int((path / "max_energy_range_uj").read_text(encoding="ascii"))
        self._last = self._read()

    def look(self) -> None:
        if self.joules is None:
            return
        try:
            now = self._read()
        except (OSError, ValueError):
            self.joules = None
            return
        used = now - self._last
        self.joules += (used if used >= 0 else used + self._range) / 1e6
        self._last = now

    def _read(self) -> int:
        return int((self.path / "energy_uj").read_text(encoding="ascii"))


def open_zones(root: Path = POWERCAP) -> list[RaplZone]:
    """The packages and their memory; nothing where one of them cannot be read, since a part would pass for the whole.

    Memory is a zone within its package that the package does not count; cores and graphics are counted by it, and the
    platform as a whole (psys), like the same packages by another bus (intel-rapl-mmio), would be counted twice.
    """
    try:
        named = {path: (path / "name").read_text(encoding="ascii").strip() for path in root.glob("intel-rapl:*")}
        wanted = [path for path, name in named.items() if name.startswith("package") or name == "dram"]
        return [RaplZone(path) for path in sorted(wanted)] if "package" in " ".join(named.values()) else []
    except (OSError, ValueError):
        return []


class NvmlCounter:
    """Millijoules since the driver was loaded, of the whole GPU."""

    words = "NVML"

    def __init__(self, read: Callable[[], int]) -> None:
        self.joules: float | None = 0.0
        self._read, self._first = read, read()

    def look(self) -> None:
        if self.joules is None:
            return
        try:
            self.joules = (self._read() - self._first) / 1e3
        except Exception:  # the driver answers with whatever it has
            self.joules = None


class SmiPower:
    """Watts that nvidia-smi tells now and then, integrated by trapezoids."""

    words = "nvidia-smi"

    def __init__(self, uuid: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises OSError, ValueError or subprocess.SubprocessError where the program or the GPU says nothing."""
        self.joules: float | None = 0.0
        self._uuid, self._clock = uuid, clock
        self._at, self._watts = clock(), self._read()

    def look(self) -> None:
        if self.joules is None:
            return
        try:
            watts, at = self._read(), self._clock()
        except (OSError, ValueError, subprocess.SubprocessError):
            self.joules = None
            return
        self.joules += (watts + self._watts) / 2 * (at - self._at)
        self._at, self._watts = at, watts

    def _read(self) -> float:
        command = ["nvidia-smi", "--query-gpu=uuid,power.draw", "--format=csv,noheader,nounits"]
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=ANSWER_SECONDS)
        for line in told.stdout.splitlines():
            uuid, _, watts = line.partition(",")
            if uuid.strip() == self._uuid:
                return float(watts)
        raise ValueError(f"nvidia-smi does not know {self._uuid}")


def open_gpu(device: torch.device) -> Source | None:
    """What tells the energy of the GPU that this process computes on; None where nothing does."""
    uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    with contextlib.suppress(Exception):  # no pynvml, no such counter on this GPU, a slice of one
        pynvml: Any = importlib.import_module("pynvml")
        pynvml.nvmlInit()
        found = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        return NvmlCounter(lambda: int(pynvml.nvmlDeviceGetTotalEnergyConsumption(found)))
    if shutil.which("nvidia-smi"):
        with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
            return SmiPower(uuid)
    return None


class ProcessShare:
    """What this process used of a machine of so many watts, by its share of the cores' time."""

    def __init__(self, watts: float, *, cores: int, seconds: Callable[[], float] = time.process_time) -> None:
        self.words = f"{watts:g} W set for {cores} cores"
        self.joules: float | None = 0.0
        self._each, self._seconds, self._first = watts / cores, seconds, seconds()

    def look(self) -> None:
        self.joules = self._each * (self._seconds() - self._first)


def read_watts(text: str | None) -> float | None:
    """What was set, if it is a number over 0."""
    try:
        watts = float(text or "")
    except ValueError:
        return None
    return watts if 0 < watts < 1e6 else None


@dataclass(frozen=True)
class Gauge:
    """One part of what an attempt uses, and what tells it; no sources: nobody knows."""

    what: str
    basis: str
    sources: tuple[Source, ...] = ()

    def part(self) -> EnergyPart:
        known = [one.joules for one in self.sources if one.joules is not None]
        if not self.sources or len(known) < len(self.sources):
            return EnergyPart(what=self.what, basis="unknown")
        words = ", ".join(dict.fromkeys(one.words for one in self.sources))
        return EnergyPart(what=self.what, basis=self.basis, source=words, joules=sum(known))


def choose_gauges(
    device: torch.device, *, root: Path = POWERCAP, watts: float | None = None, first_here: bool = True
) -> list[Gauge]:
    """Of the processes on one machine the first reads the counters of its packages, each those of its own GPU."""
    gauges = []
    if zones := open_zones(root):
        gauges += [Gauge("cpu", "measured", tuple(zones))] if first_here else []
    elif watts is not None:
        gauges.append(Gauge("cpu", "estimated", (ProcessShare(watts, cores=os.cpu_count() or 1),)))
    elif first_here:
        gauges.append(Gauge("cpu", "unknown"))
    if device.type == "cuda":
        gpu = open_gpu(device)
        gauges.append(Gauge("gpu", "measured", (gpu,)) if gpu else Gauge("gpu", "unknown"))
    return gauges


class Meter:
    """Looks at the sources of this process from its making until it is closed."""

    def __init__(self, gauges: list[Gauge], *, look_seconds: float = LOOK_SECONDS) -> None:
        self._gauges = gauges
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._look_seconds = look_seconds
        if any(one.sources for one in gauges):
            threading.Thread(target=self._watch, name="energy", daemon=True).start()

    @classmethod
    def open(cls, device: torch.device) -> "Meter":
        first_here = os.environ.get("LOCAL_RANK", "0") == "0"
        return cls(choose_gauges(device, watts=read_watts(os.environ.get(WATTS)), first_here=first_here))

    def read(self) -> list[EnergyPart]:
        """What was used up to now."""
        self._look()
        return [one.part() for one in self._gauges]

    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def close(self) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(self._look_seconds):
            self._look()

    def _look(self) -> None:
        with self._lock:
            for gauge in self._gauges:
                for one in gauge.sources:
                    one.look()


def add_parts(each: Iterable[list[EnergyPart]]) -> list[EnergyPart]:
    """The parts of several processes, those told alike as one. What one of them does not know stays unknown beside."""
    found: dict[tuple[str, str, str], EnergyPart] = {}
    for part in (one for parts in each for one in parts):
        key = (part.what, part.basis, part.source)
        known = found.get(key)
        joules = part.joules if known is None or known.joules is None else known.joules + (part.joules or 0.0)
        found[key] = part.model_copy(update={"joules": joules})
    return [found[key] for key in sorted(found)]


def mean_watts(before: list[EnergyPart], now: list[EnergyPart], *, seconds: float) -> float | None:
    """Power between two readings; None where a part is unknown."""
    totals = [[one.joules for one in parts] for parts in (before, now)]
    if seconds <= 0 or not now or any(None in joules for joules in totals):
        return None
    first, last = (sum(joule or 0.0 for joule in joules) for joules in totals)
    return (last - first) / seconds
