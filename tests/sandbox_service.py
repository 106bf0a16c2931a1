"""The tool service as a process of its own, on the tests' container engine."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox_engine import IMAGE, SOCKET, why_no_engine
from tests.sandbox_serving import begin_service, wait_until_served

TOKENS = {tenant: f"token-of-{tenant}-0123456789" for tenant in ("one", "two", "three")}


@dataclass
class RunningService:
    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    def rss_bytes(self, field: str = "VmRSS") -> int:
        """Memory of the process; `VmHWM` for the most it ever had."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) << 10
        raise AssertionError(f"the service has no {field}; has it ended?")


def headers_of(tenant: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[tenant]}"}


def write_toml(value: Any) -> str:
    """Strings, numbers and flags are written alike in JSON and TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {write_toml(each)}" for name, each in value.items()) + "}"
    return json.dumps(value)


@contextmanager
def run_service(
    folder: Path, *, owner: str, socket: Path = SOCKET, corpus: Path | None = None, **settings: Any
) -> Iterator[RunningService]:
    """Serve until the block ends. `settings` are those of the code tools. Skips where there is no engine."""
    if socket == SOCKET and (reason := why_no_engine()):
        pytest.skip(reason)
    chosen = {"socket": str(socket), "image": IMAGE, "owner": f"test-{owner}", "longest_wait_s": 120.0, **settings}
    written = folder / f"{owner}.toml"
    written.write_text("".join(f"{name} = {write_toml(value)}\n" for name, value in chosen.items()))
    tokens = folder / "tokens"
    if not tokens.exists():
        tokens.touch(mode=0o600)
        tokens.write_text("".join(f"{tenant}:{token}\n" for tenant, token in TOKENS.items()))
    words = ["--code-settings-file", written, "--token-file", tokens, "--index-folder", folder / "indexes"]
    log = folder / f"{owner}-{time.monotonic_ns()}.log"
    process = begin_service(log, *words, *(["--corpus", corpus] if corpus else []))
    try:
        yield RunningService(process, wait_until_served(process, log), log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=120)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
