"""N steps equal k steps, a new process and N − k steps, bit for bit."""

import json
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.trainer_runs import (
    TINY,
    chat_rows,
    events_of,
    metric,
    run_here,
    run_trainer,
    text_rows,
    trainer_process,
    write_rows,
    write_run,
)
from trainer.contract.hashing import hash_file, list_files

pytestmark = pytest.mark.trains

OPTIMIZER = {"learning_rate": 3e-3, "warmup_steps": 2, "weight_decay": 0.1}
CPT = {
    "kind": "cpt",
    "data": [{"dataset": "law@1", "weight": 2}, {"dataset": "news@1"}],
    "held_out": [{"dataset": "held@1"}],
    "steps": 8,
    "batch_size": 4,
    "gradient_accumulation": 2,
    "sequence_length": 64,
    "initialise": TINY,
    "optimizer": OPTIMIZER,
    "checkpoint_every": 3,
    "measure_every": 3,
}
SFT = {
    "kind": "sft",
    "data": [{"dataset": "chat@1"}],
    "epochs": 2,
    "batch_size": 2,
    "sequence_length": 128,
    "optimizer": OPTIMIZER,
    "checkpoint_every": 2,
}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("data")
    return {
        "law@1": write_rows(folder / "law.jsonl", text_rows(40), "text"),
        "news@1": write_rows(folder / "news.jsonl", text_rows(15, start=100), "text"),
        "held@1": write_rows(folder / "held.jsonl", text_rows(12, start=200), "text"),
        "chat@1": write_rows(folder / "chat.jsonl", chat_rows(30), "chat"),
    }


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, datasets: dict[str, Any]) -> Path:
    out = write_run(tmp_path_factory.mktemp("unbroken"), [CPT, SFT], datasets, keep_checkpoints=50)
    result = run_trainer("run", str(out))
    assert result.returncode == 0, result.stderr
    return out


def assert_last_checkpoint_equal(whole: Path, part: Path) -> None:
    last = events_of(whole, "checkpoint_saved")[-1]
    ours, theirs = part / last.path, whole / last.path
    assert list_files(ours) == list_files(theirs)
    for name in list_files(ours):
        assert hash_file(ours / name) == hash_file(theirs / name), name


@pytest.mark.parametrize("step", [6, 8, 10], ids=["in cpt", "at the border", "in sft"])
def test_a_run_continued_from_any_checkpoint_ends_bit_for_bit_the_same(
    step: int, unbroken: Path, datasets: dict[str, Any], tmp_path: Path
):
    checkpoint = unbroken / "checkpoints" / f"step-{step:06d}"
    out = write_run(tmp_path / "continued", [CPT, SFT], datasets, resume_from=str(checkpoint))
    result = run_trainer("run", str(out))
    assert result.returncode == 0, result.stderr
    assert events_of(out, "attempt_started")[0].resumed_from_step == step
    assert min(metric(out, "train/loss")) == step + 1
    whole = metric(unbroken, "train/loss")
    assert metric(out, "train/loss") == {at: loss for at, loss in whole.items() if at > step}
    before = {at: loss for at, loss in metric(unbroken, "held_out/held@1/loss").items() if at > step}
    assert metric(out, "held_out/held@1/loss") == before
    assert_last_checkpoint_equal(unbroken, out)


@pytest.mark.parametrize("wait", [0.0, random.uniform(0.05, 0.5)], ids=["at once", "somewhere"])
def test_a_run_stopped_at_any_moment_continues_bit_for_bit(
    wait: float, unbroken: Path, datasets: dict[str, Any], tmp_path: Path
):
    first = write_run(tmp_path / "first", [CPT, SFT], datasets)
    process = trainer_process("run", str(first))
    events = first / "events.jsonl"
    while not (events.exists() and b"train/loss" in events.read_bytes()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    time.sleep(wait)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    if process.returncode == 0:  # it was faster than the signal
        assert_last_checkpoint_equal(unbroken, first)
        return
    assert process.returncode == 4, stderr
    assert events_of(first, "attempt_stopped")[0].reason == "received SIGTERM"
    stopped = events_of(first, "checkpoint_saved")[-1]
    assert stopped.step == events_of(first, "attempt_stopped")[0].step

    second = write_run(tmp_path / "second", [CPT, SFT], datasets, resume_from=str(first / stopped.path), attempt=2)
    result = run_trainer("run", str(second))
    assert result.returncode == 0, result.stderr
    losses = metric(first, "train/loss") | metric(second, "train/loss")
    assert losses == metric(unbroken, "train/loss")
    held = metric(first, "held_out/held@1/loss") | metric(second, "held_out/held@1/loss")
    assert held == metric(unbroken, "held_out/held@1/loss")
    assert_last_checkpoint_equal(unbroken, second)


def test_a_damaged_checkpoint_is_refused_by_name(
    unbroken: Path, datasets: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    copy = tmp_path / "step-000003"
    shutil.copytree(unbroken / "checkpoints" / "step-000003", copy)
    weights = copy / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    out = write_run(tmp_path / "out", [CPT, SFT], datasets, resume_from=str(copy))
    assert run_here(out) == 2
    assert "model/model.safetensors is not what was written" in capsys.readouterr().err
    assert "model/model.safetensors" in events_of(out, "attempt_failed")[0].error


def test_another_recipe_cannot_continue_a_checkpoint(
    unbroken: Path, datasets: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    checkpoint = unbroken / "checkpoints" / "step-000003"
    changed = json.loads(json.dumps(CPT)) | {"steps": 9}
    out = write_run(tmp_path / "out", [changed, SFT], datasets, resume_from=str(checkpoint))
    assert run_here(out) == 2
    assert "another recipe" in capsys.readouterr().err
