"""Starting the ranks of an attempt on this machine. Imports nothing heavy: it only waits.

What `python -m trainer run` becomes when run.json asks for several processes. The environment is the one that torchrun
makes, so that torchrun, accelerate and Slurm start ranks just as well, over many machines too:

    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29400 -m trainer run DIRECTORY

torchrun itself is not used here: it would end ranks that are still saving half a minute after a stop was asked for, and
turn every exit code into 1.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from trainer.contract.base import ExitCode
from trainer.contract.events import AttemptFailed, AttemptStopped, RunFinished
from trainer.events_log import EventLog, last_event

SECONDS_TO_FOLLOW = 30.0
"""How long ranks may take to notice that one of them failed."""


def wanted_processes(out: Path) -> int:
    """How many processes run.json asks this one to start; 1 when it is itself a rank, or nothing can be read."""
    if "WORLD_SIZE" in os.environ:
        return 1
    try:
        asked = json.loads((out / "run.json").read_bytes()).get("processes", 1)
    except (OSError, ValueError, AttributeError):
        return 1
    return asked if isinstance(asked, int) and asked > 1 else 1


def launch(out: Path, processes: int) -> int:
    """Run all ranks to their end; returns the first rank's exit code, or that of a failure which took it along."""
    environment = {
        **os.environ,
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
    }
    command = [sys.executable, *(["-P"] if sys.flags.safe_path else []), "-m", "trainer", "rank", str(out)]
    ranks: list[subprocess.Popen[bytes]] = []
    forwarded: list[int] = []

    def forward(number: int, frame: object) -> None:
        forwarded.append(number)
        for one in ranks:
            if one.returncode is None:
                one.send_signal(number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    for rank in range(processes):
        own = {**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        ranks.append(subprocess.Popen(command, env=own, stdin=subprocess.DEVNULL))
        for number in forwarded:  # asked for while they were being started
            ranks[-1].send_signal(number)
    failed = _wait(ranks)
    codes = [one.returncode for one in ranks]
    if codes[0] >= 0 and failed is None:
        return int(codes[0])
    _tell_failure(out, failed, codes)
    return int(codes[0]) if codes[0] > 0 else ExitCode.FAILED


def _wait(ranks: "list[subprocess.Popen[bytes]]") -> int | None:
    """Wait for all; returns the rank that ended first by a failure of its own, None when none did."""
    failed: int | None = None
    deadline = float("inf")
    while any(one.poll() is None for one in ranks):
        for number, one in enumerate(ranks):
            if failed is None and one.returncode not in (None, ExitCode.FINISHED, ExitCode.STOPPED):
                failed, deadline = number, time.monotonic() + SECONDS_TO_FOLLOW
        if time.monotonic() > deadline:
            for one in ranks:
                if one.poll() is None:
                    one.kill()
        time.sleep(0.05)
    return failed


def _tell_failure(out: Path, failed: int | None, codes: list[int]) -> None:
    """Say in the event log what the first rank no longer could."""
    rank = 0 if failed is None else failed
    with EventLog(out / "events.jsonl") as events:
        if isinstance(last_event(out / "events.jsonl"), AttemptFailed | AttemptStopped | RunFinished):
            return
        how = f"by signal {-codes[rank]}" if codes[rank] < 0 else f"with exit code {codes[rank]}"
        events.emit(
            AttemptFailed(
                error=f"process {rank + 1} of {len(codes)} ended {how}; the end of stderr.log says more. Signal 9 "
                "often means that memory was full."
            )
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
