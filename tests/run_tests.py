"""All tests, in two processes side by side: `make test`. With arguments, one pytest with these arguments.

Tests that start platforms, containers and browsers wait for them for most of their time; all others compute meanwhile,
at a lower priority, so that what is waited for is not kept waiting. The two share nothing: each has a home, a database
and ports of its own, and only the first starts a container engine. Ends with 0 only where both did.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parent
SELECTED = "not replication and not soak and not vllm and not peer and not harness"
PYTEST = (sys.executable, "-m", "pytest", "-q", "--durations=30", "-m", SELECTED)
WAITING = ("browser", "integration")
"""Folders whose tests wait. The browser's need no container: while they run, the image of containers is built."""
COMPUTING = (
    "integration/test_agentic_runs.py",
    "integration/test_swap_memory.py",
    "integration/test_swapping_ranks.py",
    "integration/test_thai_law_training.py",
    "integration/test_two_processes.py",
    "integration/test_two_processes_every_algorithm.py",
)
"""Tests in there that only compute."""
LOWER_PRIORITY = 5
SURROUNDINGS = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Tests start some hundred programs: each would compile all that it imports of ours once more."""


def split_tests() -> tuple[list[str], list[str]]:
    """Arguments of the pytest that waits and of the one that computes; every test is in one of them."""
    ignored = [f"--ignore={TESTS / name}" for name in COMPUTING]
    waiting = [*(str(TESTS / name) for name in WAITING), *ignored]
    others = sorted(one for one in TESTS.iterdir() if one.is_dir() and one.name not in WAITING)
    alone = sorted(TESTS.glob("test_*.py"))
    return waiting, [*map(str, [*alone, *others]), *(str(TESTS / name) for name in COMPUTING)]


def run_side_by_side() -> int:
    waiting, computing = split_tests()
    with tempfile.TemporaryFile() as log:
        second = subprocess.Popen(
            ["nice", "-n", str(LOWER_PRIORITY), *PYTEST, "-p", "no:cacheprovider", *computing],
            env=SURROUNDINGS,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            first = subprocess.run([*PYTEST, *waiting], env=SURROUNDINGS, check=False).returncode
            print("\nBeside these, in a second process:", flush=True)
            outcome = second.wait()
        finally:
            second.terminate()
            second.wait()
            log.seek(0)
            sys.stdout.buffer.write(log.read())
            sys.stdout.flush()
    return first or outcome


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(subprocess.run([*PYTEST, *arguments], check=False).returncode if arguments else run_side_by_side())
