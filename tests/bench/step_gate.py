"""How two programs take steps in turn: each waits after a step until it is told to take the next.

A program prints one line per step, `@@ {"cpu": seconds, ...}`, and waits for a line on stdin. Both programs use this
file, so that both are measured by the same clock: CPU-seconds of all threads of the process.
"""

import json
import resource
import sys
import time
from typing import Any

MARK = "@@ "


class Gate:
    """Counts from the moment a step is allowed to the moment it is done."""

    def __init__(self) -> None:
        self.begun = 0.0

    def pass_through(self, **facts: Any) -> None:
        """Tell that a step is done, and wait. Ends the process when nobody asks for another."""
        facts["cpu"] = time.process_time() - self.begun
        facts["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(MARK + json.dumps(facts), flush=True)
        if not sys.stdin.readline().strip():
            raise SystemExit(0)
        self.begun = time.process_time()
