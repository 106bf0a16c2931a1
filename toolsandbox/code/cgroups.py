"""A fresh cgroup for every call of a batch: memory, processes and CPU time that no neighbour shares.

Made by the service below the container's own cgroup, from outside: the container sees its cgroups read-only, so
nothing inside can make, leave or widen one. That takes a service that is root on the engine's host. Where it is not,
or the engine is elsewhere, `find_call_cgroups` says why, and a call keeps only the limits that a process can set
itself.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

V1_CONTROLLERS = ("memory", "pids", "cpuacct")
FIRST = "first"
"""Version 2 lets no process stay where a cgroup hands limits down: the container's first processes move here."""


class CgroupsUnavailable(Exception):
    """This service cannot make cgroups for this engine's containers; the message says why."""


@dataclass(frozen=True)
class CallCounts:
    """What the kernel counted for one call, sandboxing included."""

    oom_kills: int = 0
    refused_forks: int = 0
    cpu_s: float = 0.0


class CallCgroups:
    """Makes the cgroups of one container's calls. `workers` are processes of the host, in the order of their slots."""

    def __init__(self, homes: dict[str, Path], rest: dict[str, Path], workers: list[int], *, unified: bool) -> None:
        self._homes, self._rest, self._workers, self._unified = homes, rest, workers, unified
        self._made = 0

    def open_call(self, slot: int, *, memory_bytes: int, processes: int) -> "CallCgroup":
        """Put a slot's worker, and with it whatever it forks, into a new cgroup. Raises `OSError`.

        `processes` are all that are in it, the two that prepare the call included.
        """
        self._made += 1
        call = CallCgroup(
            {name: home / f"call-{self._made}" for name, home in self._homes.items()},
            self._rest,
            self._workers[slot],
            unified=self._unified,
        )
        try:
            call.enter(memory_bytes=memory_bytes, processes=processes)
        except OSError:
            call.close()
            raise
        return call


class CallCgroup:
    def __init__(self, folders: dict[str, Path], rest: dict[str, Path], worker: int, *, unified: bool) -> None:
        self.folders = folders
        self._rest, self._worker, self._unified = rest, worker, unified

    def enter(self, *, memory_bytes: int, processes: int) -> None:
        for folder in self.folders.values():
            folder.mkdir()
        if self._unified:
            settings = {"memory.max": memory_bytes, "memory.swap.max": 0, "pids.max": processes}
        else:
            settings = {
                "memory.limit_in_bytes": memory_bytes,
                "memory.memsw.limit_in_bytes": memory_bytes,
                "pids.max": processes,
            }
        for name, value in settings.items():
            file = self._controller(name.partition(".")[0]) / name
            if "sw" not in name or file.exists():
                _write(file, value)
        for folder in self.folders.values():
            _write(folder / "cgroup.procs", self._worker)

    def _controller(self, name: str) -> Path:
        return self.folders["" if self._unified else name]

    def read(self) -> CallCounts:
        if self._unified:
            return CallCounts(
                oom_kills=_read_field(self._controller("memory") / "memory.events", "oom_kill"),
                refused_forks=_read_field(self._controller("pids") / "pids.events", "max"),
                cpu_s=_read_field(self._controller("cpu") / "cpu.stat", "usage_usec") / 1e6,
            )
        return CallCounts(
            oom_kills=_read_field(self._controller("memory") / "memory.oom_control", "oom_kill"),
            refused_forks=_read_field(self._controller("pids") / "pids.events", "max"),
            cpu_s=int((self._controller("cpuacct") / "cpuacct.usage").read_text()) / 1e9,
        )

    def close(self) -> CallCounts:
        """Take the worker out, remove the cgroup, and answer what it counted. Quiet when the container is gone."""
        try:
            counts = self.read()
        except OSError:
            counts = CallCounts()
        for name, folder in self.folders.items():
            # A container that died took its processes along; the engine then removes what is below its cgroup.
            with suppress(OSError):
                _write(self._rest[name] / "cgroup.procs", self._worker)
            with suppress(OSError):
                folder.rmdir()
        return counts


@dataclass(frozen=True)
class Seats:
    """Where the calls of a batch sit in their container: one per worker at a time."""

    workers: list[int]
    """Their process numbers inside."""
    memory_bytes: int
    processes: int
    """The most that one call may have."""
    cgroups: CallCgroups | None
    reason: str = ""
    """Why there are no cgroups per call."""


def find_call_cgroups(pid: int, container: str, workers: list[int], *, root: Path = Path("/")) -> CallCgroups:
    """Cgroups for the container `container` whose first process is `pid` on this host.

    `workers` are its workers' numbers inside the container. Raises `CgroupsUnavailable`. `root` is for tests.
    """
    try:
        return _find(pid, container, workers, root)
    except (OSError, ValueError) as failed:
        reason = failed.strerror if isinstance(failed, OSError) and failed.strerror else str(failed)
        raise CgroupsUnavailable(
            f"calls of a batch share their container's cgroup ({reason}); for a cgroup per call run the service as "
            "root on the engine's host"
        ) from None


def _find(pid: int, container: str, workers: list[int], root: Path) -> CallCgroups:
    paths = _read_paths(root / "proc" / str(pid) / "cgroup")
    mounts = _read_mounts(root / "proc/self/mounts")
    unified = not all(name in paths and name in mounts for name in V1_CONTROLLERS)
    homes = {}
    for name in ("",) if unified else V1_CONTROLLERS:
        if name not in paths or name not in mounts:
            raise ValueError("there is no cgroup file system that this service can see")
        # The engine's word for the process is checked: only what carries the container's name is ever written.
        if container not in paths[name]:
            raise ValueError("the engine's processes are not visible here")
        homes[name] = root / mounts[name].lstrip("/") / paths[name].lstrip("/")
    for home in homes.values():
        if not os.access(home / "cgroup.procs", os.W_OK):
            raise ValueError("no permission to write them")
    anyone = next(iter(homes.values()))
    by_inner = {_read_inner_pid(root, each): each for each in _read_pids(anyone)}
    rest = homes
    if unified:
        rest = {"": homes[""] / FIRST}
        rest[""].mkdir(exist_ok=True)
        for each in by_inner.values():
            _write(rest[""] / "cgroup.procs", each)
        _write(homes[""] / "cgroup.subtree_control", "+memory +pids")
    if missing := set(workers) - set(by_inner):
        raise ValueError(f"no process for the workers {sorted(missing)}")
    return CallCgroups(homes, rest, [by_inner[worker] for worker in workers], unified=unified)


def _read_paths(file: Path) -> dict[str, str]:
    """Controller, or nothing for version 2, to the path of its cgroup."""
    paths = {}
    for line in file.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def _read_mounts(file: Path) -> dict[str, str]:
    """Controller, or nothing for version 2, to the folder where it is mounted."""
    mounts: dict[str, str] = {}
    for line in file.read_text().splitlines():
        _, folder, kind, options, *_ = line.split()
        if kind == "cgroup2":
            mounts.setdefault("", folder)
        elif kind == "cgroup":
            for option in options.split(","):
                mounts.setdefault(option, folder)
    return mounts


def _read_pids(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "cgroup.procs").read_text().split()]


def _read_inner_pid(root: Path, pid: int) -> int:
    for line in (root / "proc" / str(pid) / "status").read_text().splitlines():
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    raise ValueError("the kernel does not tell the numbers of processes in their namespace")


def _read_field(file: Path, field: str) -> int:
    for line in file.read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == field:
            return int(value)
    return 0


def _write(file: Path, value: int | str) -> None:
    """Write without truncating: a cgroup's file is no file, and one that is missing must not be made."""
    descriptor = os.open(file, os.O_WRONLY)
    try:
        os.write(descriptor, str(value).encode())
    finally:
        os.close(descriptor)
