"""A loss or gradient that is no number: the step changes nothing, and three in a row end the run."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.rollout_runs import GRPO, write_base, write_rollout_run
from tests.trainer_runs import TINY, events_of, metric, run_here, text_rows, write_rows, write_run
from trainer.algorithms.base import LossTerms
from trainer.algorithms.cpt import Cpt
from trainer.algorithms.grpo import Grpo

CPT = {
    "kind": "cpt",
    "data": [{"dataset": "law@1"}],
    "steps": 8,
    "batch_size": 2,
    "sequence_length": 64,
    "initialise": TINY,
    "checkpoint_every": 1,
}


def spoil(monkeypatch: pytest.MonkeyPatch, algorithm: type, calls: set[int], value: float) -> None:
    """Let the loss of these calls be multiplied by `value`."""
    loss, count = algorithm.loss, 0

    def spoiled(self: Any, batch: Any, policy: Any, **options: Any) -> LossTerms:
        nonlocal count
        count += 1
        terms = loss(self, batch, policy, **options)
        if count in calls:
            return LossTerms({name: term * value for name, term in terms.terms.items()})
        return terms

    monkeypatch.setattr(algorithm, "loss", spoiled)


@pytest.fixture
def text_run(tmp_path: Path) -> Path:
    datasets = {"law@1": write_rows(tmp_path / "law.jsonl", text_rows(40), "text")}
    return write_run(tmp_path / "run", [CPT], datasets, keep_checkpoints=50)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_step_that_left_the_numbers_is_skipped_and_counted(
    value: float, text_run: Path, monkeypatch: pytest.MonkeyPatch
):
    spoil(monkeypatch, Cpt, {3, 4, 6}, value)
    assert run_here(text_run) == 0
    assert list(metric(text_run, "train/skipped_steps").values()) == [0, 0, 1, 2, 2, 3, 3, 3]
    hashes = {event.step: event.sha256 for event in events_of(text_run, "checkpoint_saved")}
    assert hashes[2] == hashes[3] == hashes[4] != hashes[5] == hashes[6] != hashes[7]
    assert metric(text_run, "train/loss")[3] == ("NaN" if value != value else "Infinity")


def test_three_in_a_row_end_the_run_with_the_last_good_checkpoint_kept(text_run: Path, monkeypatch: pytest.MonkeyPatch):
    spoil(monkeypatch, Cpt, {4, 5, 6}, float("nan"))
    assert run_here(text_run) == 3
    assert "no number in 3 steps in a row, the last being 6" in events_of(text_run, "attempt_failed")[0].error
    saved = events_of(text_run, "checkpoint_saved")
    assert [event.step for event in saved] == [1, 2, 3, 4, 5, 6]
    assert (text_run / saved[-1].path / "manifest.json").is_file()
    assert saved[-1].sha256 == saved[2].sha256 != saved[1].sha256


def test_what_was_learnt_is_kept_though_no_checkpoint_was_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    datasets = {"law@1": write_rows(tmp_path / "law.jsonl", text_rows(40), "text")}
    spoil(monkeypatch, Cpt, {4, 5, 6}, float("inf"))
    constant = {"learning_rate": 1e-4, "schedule": "constant"}
    out = write_run(tmp_path / "out", [{**CPT, "checkpoint_every": 0, "optimizer": constant}], datasets)
    assert run_here(out) == 3
    [saved] = events_of(out, "checkpoint_saved")
    assert (saved.step, saved.stage_finished) == (6, False)
    again = write_run(
        tmp_path / "again", [{**CPT, "checkpoint_every": 0, "optimizer": constant}], datasets,
        resume_from=str(out / saved.path),
    )  # fmt: skip
    monkeypatch.undo()
    assert run_here(again) == 0
    assert list(metric(again, "train/skipped_steps").values()) == [3, 3]


def test_the_count_survives_a_resume(text_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spoil(monkeypatch, Cpt, {1, 2, 3, 5}, float("nan"))
    assert run_here(text_run) == 3
    monkeypatch.undo()
    datasets = {"law@1": write_rows(tmp_path / "law.jsonl", text_rows(40), "text")}
    again = write_run(
        tmp_path / "again", [CPT], datasets, keep_checkpoints=50, resume_from=str(text_run / "checkpoints/step-000002")
    )
    assert run_here(again) == 0
    assert list(metric(again, "train/skipped_steps").values()) == [2] * 6


def test_weights_that_left_the_numbers_replace_no_checkpoint(text_run: Path, monkeypatch: pytest.MonkeyPatch):
    step = torch.optim.AdamW.step

    def explode(self: Any, *arguments: Any) -> None:
        step(self, *arguments)
        with torch.no_grad():
            self.param_groups[0]["params"][0].fill_(float("inf"))

    monkeypatch.setattr(torch.optim.AdamW, "step", explode)
    assert run_here(text_run) == 3
    assert "the weights hold values that are no numbers after step 1" in events_of(text_run, "attempt_failed")[0].error
    assert events_of(text_run, "checkpoint_saved") == []


def test_a_stage_on_rollouts_skips_too_and_does_not_tell_its_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spoil(monkeypatch, Grpo, {2}, float("nan"))
    told = []
    after = Grpo.after_update
    monkeypatch.setattr(Grpo, "after_update", lambda self: (told.append(1), after(self))[1])
    out = write_rollout_run(tmp_path / "run", [GRPO], write_base(tmp_path / "base"))
    assert run_here(out) == 0
    assert list(metric(out, "train/skipped_steps").values()) == [0, 1, 1, 1]
    assert len(told) == 3


def test_three_in_a_row_within_one_round_end_the_run_though_the_fourth_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spoil(monkeypatch, Grpo, {1, 2, 3}, float("nan"))
    stage = {**GRPO, "updates_per_rollout": 4, "steps": 8}
    out = write_rollout_run(tmp_path / "run", [stage], write_base(tmp_path / "base"))
    assert run_here(out) == 3
    assert "no number in 3 steps in a row, the last being 3" in events_of(out, "attempt_failed")[0].error
    assert list(metric(out, "train/skipped_steps").values()) == [1, 2, 3, 3]
    assert [event.step for event in events_of(out, "checkpoint_saved")] == [4]
