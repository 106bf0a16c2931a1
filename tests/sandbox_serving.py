"""`python -m toolsandbox serve` as a process of its own."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
Process = subprocess.Popen[bytes]


def begin_service(log: Path, *words: object, python: str = sys.executable, place: Path = REPOSITORY) -> Process:
    """Start it; what it says goes to `log`."""
    command = [python, "-m", "toolsandbox", "serve", "--port", "0", *map(str, words)]
    with log.open("w") as file:
        return subprocess.Popen(command, cwd=place, stderr=file)


def wait_until_served(service: Process, log: Path) -> str:
    """Its address, once it serves."""
    while '"event": "serving"' not in (said := log.read_text()):
        assert service.poll() is None, said[-3000:]
        time.sleep(0.02)
    return f"http://127.0.0.1:{json.loads(said.splitlines()[0])['port']}"


@contextmanager
def serve_tools(folder: Path, *words: object, python: str = sys.executable, place: Path = REPOSITORY) -> Iterator[str]:
    """Address of a service on a free port, once it serves; its log is `log` in the folder. It must end when told to."""
    log = folder / "log"
    service = begin_service(log, *words, python=python, place=place)
    try:
        yield wait_until_served(service, log)
        service.send_signal(signal.SIGTERM)
        service.wait(timeout=120)
        assert '"event": "stopped"' in log.read_text()
    finally:
        service.kill()
        service.wait()
