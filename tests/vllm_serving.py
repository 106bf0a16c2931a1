"""A real vLLM server of the trainer, on a CPU, for as long as a test needs it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.serving import find_free_port
from tests.trainer_runs import REPOSITORY
from trainer.contract.endpoints import Endpoint, EndpointError, call

PATIENCE_S = 420


@contextmanager
def serve(model: Path, log: Path, *arguments: str, key: str = "") -> Iterator[str]:
    """Address of a server for a policy of this shape; it ends with the block."""
    port = find_free_port()
    command = [sys.executable, "-m", "trainer.sampling.vllm_server", str(model), "--port", str(port)]
    command += ["--dtype", "float32", "--enforce-eager", "--disable-log-stats", *arguments]
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        **({"VLLM_API_KEY": key} if key else {}),
    }
    with log.open("w") as stream:
        process = subprocess.Popen(command, cwd=log.parent, env=environment, stdout=stream, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(process, address, log)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_until_ready(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-4000:]
        try:
            call(Endpoint(base_url=address, model="any"), "/version", seconds=10)
        except EndpointError:
            time.sleep(0.5)
        else:
            return
    raise AssertionError(f"no answer after {PATIENCE_S} s: {log.read_text()[-4000:]}")
