"""Memory of the losses at a large vocabulary, in a process of its own as the benchmark measures it."""

import os
import subprocess
import sys

import pytest

from tests.trainer_runs import REPOSITORY

POSITIONS = 160
"""All their logits at once would take 0.1 GB, and a plain divergence holds half a dozen such tensors."""


@pytest.mark.parametrize("name", ["logprobs", "divergence"])
def test_a_loss_over_150_000_entries_adds_less_than_half_a_gigabyte(name):
    said = subprocess.run(
        [sys.executable, "tests/bench/loss_memory.py", name, str(POSITIONS)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert 0.05 < float(said.stdout) < 0.5
