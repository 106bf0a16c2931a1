"""Checkpoints are complete or absent, and never trusted unchecked."""

import errno
import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.trainer_runs import TINY, events_of, run_here, text_rows, write_rows, write_run
from trainer.checkpoints import hash_directory, open_checkpoint, remove_checkpoint, sweep_partial, write_checkpoint
from trainer.failures import InvalidSpec, RunFailed


def write_model(directory: Path) -> None:
    (directory / "weights").write_bytes(b"abc")


def write_state(directory: Path) -> None:
    (directory / "state.json").write_text("{}")


def checkpoint_in(parent: Path, step: int = 5) -> Path:
    return write_checkpoint(
        parent, step=step, stage_finished=False, write_model=write_model, write_state=write_state
    ).path


def test_the_hash_of_a_directory_is_that_of_its_listing(tmp_path: Path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x").write_bytes(b"1")
    (tmp_path / "a").write_bytes(b"2")
    one, two = hashlib.sha256(b"1").hexdigest(), hashlib.sha256(b"2").hexdigest()
    assert hash_directory(tmp_path) == hashlib.sha256(f"{two}  a\n{one}  b/x\n".encode()).hexdigest()


def test_renaming_a_file_changes_the_hash_and_touching_it_does_not(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"2")
    before = hash_directory(tmp_path)
    (tmp_path / "a").touch()
    assert hash_directory(tmp_path) == before
    (tmp_path / "a").rename(tmp_path / "c")
    assert hash_directory(tmp_path) != before


def test_a_whole_checkpoint_opens(tmp_path: Path):
    path = checkpoint_in(tmp_path)
    assert path.name == "step-000005"
    manifest = open_checkpoint(path)
    assert manifest["step"] == 5
    assert manifest["model_sha256"] == hash_directory(path / "model")
    assert sorted(manifest["files"]) == ["model/weights", "state/state.json"]


@pytest.mark.parametrize("name", ["model/weights", "state/state.json"])
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_one_damaged_file_is_named(tmp_path: Path, name: str, damage: str):
    path = checkpoint_in(tmp_path)
    if damage == "missing":
        (path / name).unlink()
    else:
        (path / name).write_bytes(b"abd")
    with pytest.raises(InvalidSpec, match=f"damaged, {name} is not what was written; use an older checkpoint"):
        open_checkpoint(path)


def test_a_torn_manifest_and_an_absent_one_are_told_apart(tmp_path: Path):
    path = checkpoint_in(tmp_path)
    (path / "manifest.json").write_text('{"files": {')
    with pytest.raises(InvalidSpec, match="damaged"):
        open_checkpoint(path)
    (path / "manifest.json").unlink()
    with pytest.raises(InvalidSpec, match="no checkpoint"):
        open_checkpoint(path)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path):
    def full(directory: Path) -> None:
        (directory / "half").write_bytes(b"x" * 100)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RunFailed, match=r"checkpoint of step 5 could not be written \(No space left on device\)"):
        write_checkpoint(tmp_path, step=5, stage_finished=False, write_model=write_model, write_state=full)
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_process_are_swept(tmp_path: Path):
    kept = checkpoint_in(tmp_path)
    (tmp_path / "step-000009.partial" / "model").mkdir(parents=True)
    sweep_partial(tmp_path)
    assert list(tmp_path.iterdir()) == [kept]
    remove_checkpoint(kept)
    assert list(tmp_path.iterdir()) == []


STAGE: dict[str, Any] = {
    "kind": "cpt",
    "data": [{"dataset": "law@1"}],
    "steps": 6,
    "batch_size": 1,
    "sequence_length": 64,
    "checkpoint_every": 1,
}


def test_only_the_newest_and_the_last_of_each_stage_are_kept(tmp_path: Path):
    datasets = {"law@1": write_rows(tmp_path / "law.jsonl", text_rows(20), "text")}
    stages = [{**STAGE, "initialise": TINY, "steps": 4}, {**STAGE, "name": "more"}]
    out = write_run(tmp_path / "run", stages, datasets, keep_checkpoints=2)
    assert run_here(out) == 0
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == [
        "step-000004",  # last of the first stage
        "step-000008",
        "step-000009",
        "step-000010",  # last of the second stage
    ]
    removed = [event.path for event in events_of(out, "checkpoint_removed")]
    assert removed == [f"checkpoints/step-{step:06d}" for step in (1, 2, 3, 5, 6, 7)]
    finished = [event.step for event in events_of(out, "checkpoint_saved") if event.stage_finished]
    assert finished == [4, 10]
    for event in events_of(out, "checkpoint_saved"):
        path = out / event.path / "model"
        if path.exists():
            assert hash_directory(path) == event.sha256


def test_a_base_model_with_another_hash_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    datasets = {"law@1": write_rows(tmp_path / "law.jsonl", text_rows(20), "text")}
    made = write_run(tmp_path / "make", [{**STAGE, "initialise": TINY, "steps": 1}], datasets)
    assert run_here(made) == 0
    base = tmp_path / "base"
    shutil.copytree(made / "checkpoints" / "step-000001" / "model", base)
    sha256 = hash_directory(base)
    fields = {"base": {"path": str(base), "sha256": sha256}, "recipe": {"base": "tiny"}}

    out = write_run(tmp_path / "good", [{**STAGE, "steps": 2}], datasets, **fields)
    assert run_here(out) == 0
    assert events_of(out, "stage_started")[0].notes["initialised"] is False

    (base / "extra").write_text("new")
    out = write_run(tmp_path / "bad", [STAGE], datasets, **fields)
    capsys.readouterr()
    assert run_here(out) == 2
    assert capsys.readouterr().err.startswith(f"base.sha256: {base} has other content than the model tiny")
