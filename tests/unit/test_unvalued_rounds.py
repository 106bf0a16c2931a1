"""Completions that nobody can value: some rounds may pass so, then the run ends and loses nothing."""

from pathlib import Path
from typing import Any

import pytest

from tests.rollout_runs import GRPO, INK, write_base, write_rollout_run
from tests.trainer_runs import events_of, metric, run_here
from trainer.contract.hashing import hash_directory
from trainer.rewards.base import Answer, Fault
from trainer.rewards.overlong import Overlong

STEADY = {**GRPO, "steps": 8}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


def fail_in_rounds(monkeypatch: pytest.MonkeyPatch, rounds: set[int], *, rollouts: int = 8) -> None:
    """Let the reward be away for every rollout of these rounds, counted from 1."""
    value, asked = Overlong.value, 0

    def away(self: Any, answer: Answer) -> float:
        nonlocal asked
        asked += 1
        if (asked - 1) // rollouts + 1 in rounds:
            raise Fault("The judge is away.")
        return value(self, answer)

    monkeypatch.setattr(Overlong, "value", away)


@pytest.mark.parametrize("kind", ["grpo", "ink_grpo", "online_dpo", "rf_nll"])
def test_three_rounds_in_a_row_without_a_value_end_the_run_and_keep_what_was_learnt(
    kind: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stage = {**(INK if kind == "ink_grpo" else GRPO), "kind": kind, "steps": 8}
    whole = write_rollout_run(tmp_path / "whole", [stage], base)
    assert run_here(whole) == 0
    fail_in_rounds(monkeypatch, {4, 5, 6})
    out = write_rollout_run(tmp_path / "out", [stage], base)
    assert run_here(out) == 3
    assert events_of(out, "attempt_failed")[0].error == (
        "none of the 8 rollouts of this round could be trained on, nor any of the 2 rounds before; of the first one: "
        "Reward overlong failed: The judge is away. Repair what failed and resume from the last checkpoint."
    )
    assert list(metric(out, "train/loss")) == [1, 2, 3, 4, 5]
    assert metric(out, "rollout/masked")[5] == 8
    [saved] = events_of(out, "checkpoint_saved")  # nothing was to be saved before the end of the stage
    assert saved.step == 5
    assert not saved.stage_finished


def test_the_run_goes_on_from_there_once_the_reward_is_back(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fail_in_rounds(monkeypatch, {2, 3, 4})
    out = write_rollout_run(tmp_path / "out", [STEADY], base)
    assert run_here(out) == 3
    monkeypatch.undo()
    again = write_rollout_run(
        tmp_path / "again", [STEADY], base, resume_from=str(out / "checkpoints/step-000003"), attempt=2
    )
    assert run_here(again) == 0
    assert list(metric(again, "rollout/masked").values()) == [0.0] * 5

    # The very run in which the reward was away in rounds 2 and 3 only.
    fail_in_rounds(monkeypatch, {2, 3})
    whole = write_rollout_run(tmp_path / "whole", [STEADY], base)
    assert run_here(whole) == 0
    ends = (one / "checkpoints/step-000008/model" for one in (whole, again))
    assert len({hash_directory(end) for end in ends}) == 1


def test_a_round_with_a_value_between_starts_the_count_anew(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fail_in_rounds(monkeypatch, {1, 2, 4, 5, 7, 8})
    out = write_rollout_run(tmp_path, [STEADY], base)
    assert run_here(out) == 0
    masked = metric(out, "rollout/masked")
    assert [step for step, count in masked.items() if count == 8] == [1, 2, 4, 5, 7, 8]


def test_the_count_survives_a_resume(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stage = {**STEADY, "checkpoint_every": 1}
    fail_in_rounds(monkeypatch, {2, 3, 4})
    out = write_rollout_run(tmp_path / "out", [stage], base)
    assert run_here(out) == 3
    monkeypatch.undo()
    fail_in_rounds(monkeypatch, {1})
    again = write_rollout_run(
        tmp_path / "again", [stage], base, resume_from=str(out / "checkpoints/step-000003"), attempt=2
    )
    assert run_here(again) == 3


def test_completions_that_are_all_cut_off_and_filtered_end_the_run_too(base: Path, tmp_path: Path):
    stage = {**STEADY, "filter_overlong": True, "sampling": {"max_new_tokens": 2}, "rewards": [{"kind": "repetition"}]}
    out = write_rollout_run(tmp_path, [stage], base)
    assert run_here(out) == 3
    assert "of the first one: Cut off before it ended." in events_of(out, "attempt_failed")[0].error


def test_rewards_that_agree_are_no_fault(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Overlong, "value", lambda self, answer: 0.0)
    for name, changes in (
        ("plain", {}),
        ("replaced", {"dynamic_sampling": {"rounds": 1}}),
        ("pairs", {"kind": "rf_nll"}),
    ):
        out = write_rollout_run(tmp_path / name, [{**GRPO, **changes}], base)
        assert run_here(out) == 0
        assert max(metric(out, "train/grad_norm").values()) == 0.0
