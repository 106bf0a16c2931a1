"""Two processes that share a policy and swap: each puts its own share away, and the result is the same."""

from pathlib import Path
from typing import Any

import pytest

from tests.rollout_runs import GRPO, write_base, write_rollout_run
from tests.trainer_runs import events_of, metric, run_trainer
from trainer.contract.hashing import hash_file, list_files

pytestmark = [pytest.mark.trains, pytest.mark.timeout(300)]


def test_processes_that_swap_end_where_those_that_do_not_do(tmp_path: Path):
    base = write_base(tmp_path / "base")
    ends: dict[str, Path] = {}
    for swap in ("off", "on"):
        stage: dict[str, Any] = {**GRPO, "steps": 2, "kl_weight": 0.1, "compute": {"swap": swap, "sharding": "on"}}
        out = write_rollout_run(tmp_path / swap, [stage], base, processes=2)
        result = run_trainer("run", str(out))
        assert result.returncode == 0, result.stderr
        [planned] = events_of(out, "memory_planned")
        assert planned.swap == (swap == "on")
        assert planned.where == "each of 2 processes on this machine"
        ends[swap] = out / events_of(out, "checkpoint_saved")[-1].path
    for name in list_files(ends["off"]):
        if name not in ("state/state.json", "manifest.json"):  # they hold the recipe's hash
            assert hash_file(ends["on"] / name) == hash_file(ends["off"] / name), name
    for key in ("train/loss", "policy/kl", "train/grad_norm"):
        assert metric(tmp_path / "on", key) == metric(tmp_path / "off", key)
