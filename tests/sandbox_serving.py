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


@contextmanager
def serve_tools(folder: Path, *words: object, python: str = sys.executable, place: Path = REPOSITORY) -> Iterator[str]:
    """Address of a service on a free port, once it serves; its log is `log` in the folder. It must end when told to."""
    log = folder / "log"
    command = [python, "-m", "toolsandbox", "serve", "--port", "0", *map(str, words)]
    with log.open("w") as file:
        service = subprocess.Popen(command, cwd=place, stderr=file)
    try:
        while '"event": "serving"' not in (said := log.read_text()):
            assert service.poll() is None, said
            time.sleep(0.05)
        yield f"http://127.0.0.1:{json.loads(said.splitlines()[0])['port']}"
        service.send_signal(signal.SIGTERM)
        service.wait(timeout=120)
        assert '"event": "stopped"' in log.read_text()
    finally:
        service.kill()
        service.wait()
