"""Ten steps on rollouts equal five, a new attempt, and five more, bit for bit."""

from pathlib import Path
from typing import Any

import pytest

from tests.rollout_runs import GRPO, INK, read_rollouts, write_base, write_rollout_run
from tests.trainer_runs import events_of, metric, run_here
from trainer.contract.hashing import hash_file, list_files
from trainer.sampling.torch_engine import TorchEngine

pytestmark = pytest.mark.trains

LENGTH = {"steps": 10, "checkpoint_every": 5}
STAGES: dict[str, dict[str, Any]] = {
    "grpo": {**GRPO, **LENGTH, "held_out": [{"dataset": "others@1"}], "measure_every": 5},
    "ink_grpo": {**INK, **LENGTH},
    "reference and replaced groups": {**GRPO, **LENGTH, "kl_weight": 0.1, "dynamic_sampling": {"rounds": 1}},
    "several updates a round": {**INK, **LENGTH, "steps": 20, "checkpoint_every": 10, "updates_per_rollout": 2},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


def assert_same_end(whole: Path, part: Path) -> None:
    last = events_of(whole, "checkpoint_saved")[-1].path
    assert list_files(whole / last) == list_files(part / last)
    for name in list_files(whole / last):
        assert hash_file(whole / last / name) == hash_file(part / last / name), name


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_continued_in_its_middle_ends_bit_for_bit_the_same(name: str, base: Path, tmp_path: Path):
    stage = STAGES[name]
    half = stage["steps"] // 2
    whole = write_rollout_run(tmp_path / "whole", [stage], base)
    assert run_here(whole) == 0
    part = write_rollout_run(
        tmp_path / "part", [stage], base, resume_from=str(whole / f"checkpoints/step-{half:06d}"), attempt=2
    )
    assert run_here(part) == 0
    assert_same_end(whole, part)
    for key in ("train/loss", "rollout/reward", "policy/kl", "knowledge/coin", "held_out/others@1/reward"):
        assert metric(part, key) == {step: value for step, value in metric(whole, key).items() if step > half}, key
    last = max(metric(whole, "rollout/reward"))
    assert last > half
    assert read_rollouts(part, last) == read_rollouts(whole, last)


def test_a_stop_while_rollouts_are_sampled_loses_only_that_round(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = write_rollout_run(tmp_path / "whole", [STAGES["ink_grpo"]], base)
    assert run_here(whole) == 0
    sample, calls = TorchEngine.sample, 0

    def interrupted(self: Any, requests: Any, *, should_stop: Any = None) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            should_stop.reason = "received SIGTERM"
        return sample(self, requests, should_stop=should_stop)

    monkeypatch.setattr(TorchEngine, "sample", interrupted)
    first = write_rollout_run(tmp_path / "first", [STAGES["ink_grpo"]], base)
    assert run_here(first) == 4
    monkeypatch.setattr(TorchEngine, "sample", sample)
    assert events_of(first, "attempt_stopped")[0].step == 3
    assert not (first / "rollouts/step-00000004.jsonl.zst").exists()
    saved = events_of(first, "checkpoint_saved")[-1].path
    second = write_rollout_run(
        tmp_path / "second", [STAGES["ink_grpo"]], base, resume_from=str(first / saved), attempt=2
    )
    assert run_here(second) == 0
    assert_same_end(whole, second)
