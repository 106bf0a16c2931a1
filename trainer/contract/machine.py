"""Memory of the machine that this process runs on, without torch."""

import os
from contextlib import suppress
from pathlib import Path

LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says what a container may take, by version of control groups."""


def machine_memory() -> int:
    """Bytes that all processes here may take together: what is built in, or less where a container is limited."""
    built_in = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [built_in]
    for path in LIMITS:
        with suppress(OSError, ValueError):
            limits.append(int(Path(path).read_text()))  # `max` where there is no limit
    return min(limits)
