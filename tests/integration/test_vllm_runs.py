"""Runs of the trainer that sample by the real vLLM in their own process. Runs in `make test-vllm`."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.rollout_runs import GRPO, INK, read_rollouts, write_base, write_rollout_run
from tests.trainer_runs import events_of, metric, run_trainer
from trainer.contract.hashing import hash_directory, hash_file, list_files

pytestmark = [pytest.mark.vllm, pytest.mark.trains]

STAGE: dict[str, Any] = {**GRPO, "sampler": "vllm", "steps": 4}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"), head_dim=32)


def run(out: Path) -> Path:
    result = run_trainer("run", str(out), seconds=600)
    assert result.returncode == 0, result.stderr[-4000:]
    return out


def assert_sampled_by_the_policy(out: Path, steps: int) -> None:
    """The trainer's forward pass gives every sampled token the log-probability that vLLM said, at every step."""
    gaps = metric(out, "policy/logp_gap_max")
    assert sorted(gaps) == list(range(1, steps + 1))
    assert max(gaps.values()) < 5e-5
    (started,) = events_of(out, "stage_started")
    assert str(started.notes["sampler"]).endswith(", float32, 1 worker")


def assert_planned(out: Path) -> None:
    """vLLM's weights, keys and values and its libraries are in the plan, as they are in what was taken."""
    (planned,), (measured,) = events_of(out, "memory_planned"), events_of(out, "memory_measured")
    assert planned.phases["rollout"]["vLLM"] > 1 << 30
    assert 0.8 * planned.peak < measured.measured <= 1.1 * planned.peak


def last_model(out: Path) -> Path:
    return out / events_of(out, "checkpoint_saved")[-1].path


def test_ink_grpo_with_held_out_prompts_samples_from_the_present_weights(base: Path, tmp_path: Path):
    stage = {**INK, **{key: STAGE[key] for key in ("sampler", "steps")}, "held_out": [{"dataset": "others@1"}]}
    out = run(write_rollout_run(tmp_path / "run", [{**stage, "measure_every": 2}], base))
    assert_sampled_by_the_policy(out, 4)
    assert_planned(out)
    assert sorted(metric(out, "held_out/others@1/reward")) == [0, 2, 4]
    assert [len(read_rollouts(out, step)) for step in range(1, 5)] == [8] * 4
    before, after = (load_file(model / "model.safetensors") for model in (base, last_model(out) / "model"))
    assert any(not before[name].equal(after[name]) for name in before)


def test_a_stage_continued_in_its_middle_ends_the_same(base: Path, tmp_path: Path):
    """Bit for bit: on one machine and with one version vLLM computes the same batches in the same way."""
    stage = {**STAGE, "checkpoint_every": 2}
    whole = run(write_rollout_run(tmp_path / "whole", [stage], base))
    resumed = {"resume_from": str(whole / "checkpoints/step-000002"), "attempt": 2}
    part = run(write_rollout_run(tmp_path / "part", [stage], base, **resumed))
    assert read_rollouts(part, 4) == read_rollouts(whole, 4)
    for name in list_files(last_model(whole)):
        assert hash_file(last_model(whole) / name) == hash_file(last_model(part) / name), name


def test_adapters_are_added_into_what_vllm_samples_from(base: Path, tmp_path: Path):
    out = run(
        write_rollout_run(
            tmp_path / "run",
            [{**STAGE, "lora": {"rank": 4}, "sampling": {**GRPO["sampling"], "temperature": 0.8}}],
            base,
        )
    )
    assert_sampled_by_the_policy(out, 4)


def test_a_student_writes_by_vllm_what_it_is_distilled_on(base: Path, tmp_path: Path):
    """At the usual top_p of 0.95, whose log-probabilities vLLM must be started for."""
    teacher = write_base(tmp_path / "teacher", hidden_size=48)
    stage = {key: STAGE[key] for key in ("data", "steps", "batch_size", "sequence_length", "optimizer", "sampler")}
    stage |= {"kind": "opd", "teacher": "large", "on_policy": 1.0, "sampling": {"max_new_tokens": 16}}
    models = {"large": {"path": str(teacher), "sha256": hash_directory(teacher)}}
    out = run(write_rollout_run(tmp_path / "run", [stage], base, models=models))
    (started,) = events_of(out, "stage_started")
    assert "vLLM" in str(started.notes["sampler"])
    found = metric(out, "distil/divergence_on_policy")
    assert sorted(found) == [1, 2, 3, 4]
    assert found[4] < found[1]


def test_two_stages_open_it_one_after_the_other(base: Path, tmp_path: Path):
    short = {**STAGE, "steps": 1}
    out = run(write_rollout_run(tmp_path / "run", [short, {**short, "sequence_length": 80}], base))
    assert len(events_of(out, "stage_finished")) == 2
    assert max(metric(out, "policy/logp_gap_max").values()) < 5e-5


def test_a_policy_that_this_vllm_cannot_compute_fails_with_a_sentence(tmp_path: Path):
    """Its attention on CPUs takes no heads of 16."""
    out = write_rollout_run(tmp_path / "run", [STAGE], write_base(tmp_path / "base"))
    result = run_trainer("run", str(out), seconds=600)
    assert result.returncode == 3
    (failed,) = events_of(out, "attempt_failed")
    assert "vLLM broke off while it sampled" in failed.error
    assert "choose sampler torch" in failed.error
