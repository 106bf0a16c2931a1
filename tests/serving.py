"""Starts the real product for a test: `chanote up` on a free loopback port with a home directory of its own."""

import os
import queue
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx

PASSWORD_LINE = re.compile(r"one-time password (\S+)")


def find_free_port() -> int:
    """One that nothing takes by chance before the server does: below those that a kernel gives away by itself."""
    while True:
        port = secrets.choice(range(20_000, 32_000))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Platform:
    """A running installation. `password` is the administrator's one-time password of the first start.

    `prepared` is a home to start from, see tests/prepared_home.py; without it everything is made at the first start.
    """

    def __init__(
        self,
        home: Path,
        *,
        command: str = "up",
        python: str = sys.executable,
        prepared: Path | None = None,
        **settings: str,
    ) -> None:
        self.home = home
        if prepared is not None:
            shutil.copytree(prepared, home, dirs_exist_ok=True)
        self.python = python
        self.port = find_free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("CHANOTE_", "DJANGO_"))},
            "CHANOTE_HOME": str(home),
            "OMP_NUM_THREADS": "1",
            **settings,
        }
        self.command = command
        self.password = ""
        self.output: list[str] = []
        self.process: subprocess.Popen[str] | None = None

    def start(self, patience_s: float = 120) -> "Platform":
        arguments = [self.python, "-m", "chanote.cli", self.command, "--port", str(self.port)]
        self.process = subprocess.Popen(
            arguments, cwd=self.home, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._collect, args=(lines,), daemon=True).start()
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            try:
                line = lines.get(timeout=0.5)
            except queue.Empty:
                assert self.process.poll() is None, "".join(self.output)
                continue
            if found := PASSWORD_LINE.search(line):
                self.password = found[1]
            if line.startswith("Chanote is at"):
                return self
        raise AssertionError(f"not up after {patience_s} s: {''.join(self.output)}")

    def _collect(self, lines: "queue.Queue[str]") -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line)
            lines.put(line)
        self.process.stdout.close()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A `chanote` command against the same home."""
        return subprocess.run(
            [self.python, "-m", "chanote.cli", *arguments],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def stop(self, patience_s: float = 120) -> int:
        """Ctrl-C; returns the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(patience_s)

    def is_alive(self) -> bool:
        return httpx.get(f"{self.url}/livez", timeout=5).status_code == 200
