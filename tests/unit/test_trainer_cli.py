"""`python -m trainer` as a user meets it: exit codes, sentences, signals, full disks."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import trainer.__main__
from tests.trainer_runs import (
    TINY,
    chat_rows,
    events_of,
    metric,
    read_events,
    run_here,
    run_trainer,
    text_rows,
    trainer_process,
    write_rows,
    write_run,
)
from trainer.contract.hashing import hash_file
from trainer.events_log import EventLog
from trainer.loop import run
from trainer.spec_file import read_spec
from trainer.stopping import StopRequest

CPT: dict[str, Any] = {
    "kind": "cpt",
    "data": [{"dataset": "law@1"}],
    "steps": 4,
    "batch_size": 2,
    "sequence_length": 64,
    "initialise": TINY,
}


@pytest.fixture
def datasets(tmp_path: Path) -> dict[str, Any]:
    return {
        "law@1": write_rows(tmp_path / "law.jsonl", text_rows(30), "text"),
        "chat@1": write_rows(tmp_path / "chat.jsonl", chat_rows(10), "chat"),
    }


def refused(out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What a refused run says on stderr; the same stands in its event log."""
    assert run_here(out) == 2
    said = capsys.readouterr().err.strip()
    assert events_of(out, "attempt_failed")[0].error == said.replace("\n", " ")
    return said


@pytest.mark.trains
def test_a_run_tells_its_whole_life_in_order(tmp_path: Path, datasets: dict[str, Any]):
    sft = {"kind": "sft", "name": "talk", "data": [{"dataset": "chat@1"}], "epochs": 1, "batch_size": 1}
    out = write_run(tmp_path / "run", [CPT, {**sft, "sequence_length": 128}], datasets)
    result = run_trainer("run", str(out))
    assert (result.returncode, result.stderr) == (0, "")
    lines = read_events(out)
    assert [line.seq for line in lines] == list(range(len(lines)))
    assert [line.event.type for line in lines if line.event.type not in ("phase_progressed", "metrics_logged")] == [
        "attempt_started",
        *("stage_started", "memory_planned", "batch_seen", "memory_measured", "checkpoint_saved", "stage_finished"),
        *("stage_started", "memory_planned", "batch_seen", "memory_measured", "checkpoint_saved", "stage_finished"),
        "energy_used",
        "run_finished",
    ]
    first, second = events_of(out, "stage_started")
    assert (first.kind, first.first_step, first.steps) == ("cpt", 1, 4)
    assert (second.kind, second.name, second.first_step) == ("sft", "talk", 5)
    assert sorted(metric(out, "train/loss")) == list(range(1, 4 + second.steps + 1))
    keys = ("learning_rate", "grad_norm", "tokens")
    assert all(sorted(metric(out, f"train/{key}")) == sorted(metric(out, "train/loss")) for key in keys)
    assert all(value > 0 for value in metric(out, "system/tokens_per_s").values())
    answer = "".join(token.text for token in events_of(out, "batch_seen")[1].rows[0] if token.trained)
    assert answer.endswith("<|im_end|>")
    assert answer.startswith("On day")


@pytest.mark.trains
def test_the_first_metric_comes_within_eight_cpu_seconds(tmp_path: Path, datasets: dict[str, Any]):
    out = write_run(tmp_path / "run", [{**CPT, "steps": 1}], datasets)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run_trainer("run", str(out)).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used < 12  # 4 to 6 on a quiet machine; other work on the same cores costs up to half again


@pytest.mark.trains
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step_saves_and_exits_4(number: signal.Signals, tmp_path: Path, datasets: dict[str, Any]):
    out = write_run(tmp_path / "run", [{**CPT, "steps": 100_000}], datasets)
    process = trainer_process("run", str(out))
    while not ((out / "events.jsonl").exists() and b"train/loss" in (out / "events.jsonl").read_bytes()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr) == (4, "")
    saved, stopped = events_of(out, "checkpoint_saved")[-1], read_events(out)[-1].event
    assert (saved.stage_finished, saved.step) == (False, max(metric(out, "train/loss")))
    assert (stopped.type, stopped.step, stopped.reason) == ("attempt_stopped", saved.step, f"received {number.name}")
    assert (out / saved.path / "manifest.json").exists()


@pytest.mark.trains
def test_a_full_disk_ends_with_3_and_no_half_checkpoint(tmp_path: Path, datasets: dict[str, Any]):
    out = write_run(tmp_path / "run", [CPT], datasets)
    limit = (30_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    result = run_trainer("run", str(out), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    assert result.returncode == 3
    assert "the checkpoint of step 4 could not be written (" in result.stderr
    failed = read_events(out)[-1].event
    assert failed.type == "attempt_failed"
    assert "Traceback" in failed.detail
    assert list((out / "checkpoints").iterdir()) == []


@pytest.mark.trains
def test_when_even_events_cannot_be_written_stderr_says_so(tmp_path: Path, datasets: dict[str, Any]):
    out = write_run(tmp_path / "run", [CPT], datasets)
    limit = (1_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    result = run_trainer("run", str(out), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    assert result.returncode == 3
    assert "events.jsonl takes no more events" in result.stderr
    assert [line.seq for line in read_events(out)] == list(range(len(read_events(out))))


def test_an_absent_directory_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run_here(tmp_path / "nowhere") == 2
    assert "nowhere is no directory; it must hold run.json." in capsys.readouterr().err


def test_a_directory_without_run_json_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert "run.json cannot be read (No such file or directory)" in refused(tmp_path, capsys)


def test_every_wrong_field_has_its_own_line(
    tmp_path: Path, datasets: dict[str, Any], capsys: pytest.CaptureFixture[str]
):
    stage = {**CPT, "batch_size": 0, "sequence_lenght": 64}
    said = refused(write_run(tmp_path / "run", [stage], datasets), capsys).splitlines()
    assert said == [
        "recipe.stages[0].batch_size: Input should be greater than 0.",
        "recipe.stages[0].sequence_lenght: Extra inputs are not permitted.",
    ]


def test_run_json_that_is_no_json_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "run.json").write_text('{"run": ')
    assert refused(tmp_path, capsys).startswith("run.json: Invalid JSON")


def test_a_dataset_of_the_wrong_kind_is_named(
    tmp_path: Path, datasets: dict[str, Any], capsys: pytest.CaptureFixture[str]
):
    out = write_run(tmp_path / "run", [{**CPT, "data": [{"dataset": "chat@1"}]}], datasets)
    assert refused(out, capsys) == (
        "recipe.stages[0].data[0]: chat@1 holds chat rows, and this field takes text rows; choose another dataset."
    )


def test_changed_and_missing_datasets_are_all_named(
    tmp_path: Path, datasets: dict[str, Any], capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "law.jsonl").write_text('{"text": "other"}\n')
    (tmp_path / "chat.jsonl").unlink()
    said = refused(write_run(tmp_path / "run", [CPT], datasets), capsys).splitlines()
    assert said[0].startswith("datasets.law@1.sha256: ")
    assert said[1].startswith("datasets.chat@1.path: ")


def test_a_row_without_its_field_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = [{"text": "a law"}] * 4 + [{"txt": "a law"}]
    datasets = {"law@1": write_rows(tmp_path / "law.jsonl", rows, "text")}
    base = {**CPT, "data": [{"dataset": "good@1"}], "held_out": [{"dataset": "law@1"}]}
    datasets["good@1"] = write_rows(tmp_path / "good.jsonl", text_rows(9), "text")
    out = write_run(tmp_path / "run", [base], datasets)
    assert refused(out, capsys) == "datasets.law@1: row 5 has no field 'text'."


def test_sequences_longer_than_the_context_are_refused(
    tmp_path: Path, datasets: dict[str, Any], capsys: pytest.CaptureFixture[str]
):
    out = write_run(tmp_path / "run", [{**CPT, "sequence_length": 129}], datasets)
    assert "sequence_length: 129 tokens do not fit the policy's context of 128" in refused(out, capsys)


def test_an_attempt_started_again_in_its_own_directory_continues_its_events(tmp_path: Path, datasets: dict[str, Any]):
    out = write_run(tmp_path / "run", [CPT], datasets)
    assert run_here(out) == 0
    with (out / "events.jsonl").open("ab") as file:
        file.write(b'{"seq":99,"at":17')
    assert run_here(out) == 0
    lines = read_events(out)
    assert [line.seq for line in lines] == list(range(len(lines)))
    hashes = [event.sha256 for event in events_of(out, "checkpoint_saved")]
    assert len(hashes) == 2
    assert hashes[0] == hashes[1]
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-000004"]


def test_evaluate_stages_score_the_model_that_the_last_checkpoint_holds(tmp_path: Path, datasets: dict[str, Any]):
    questions = [{"question": f"Which day {n}?", "choices": ["one", "two"], "answer": n % 2} for n in range(6)]
    datasets["exam@1"] = write_rows(tmp_path / "exam.jsonl", questions, "choices")
    task = {"task": "exam", "dataset": "exam@1", "output_type": "multiple_choice", "metric": "acc"}
    evaluate = {"kind": "evaluate", "tasks": ["exam"]}
    more = {key: value for key, value in CPT.items() if key != "initialise"}
    out = write_run(tmp_path / "run", [CPT, evaluate, more, evaluate], datasets, tasks={"exam": task})
    assert run_here(out) == 0
    scored, saved = events_of(out, "task_scored"), events_of(out, "checkpoint_saved")
    assert [(event.stage, event.step, event.samples) for event in scored] == [(1, 4, 6), (3, 8, 6)]
    assert [event.model_sha256 for event in scored] == [event.sha256 for event in saved]
    assert [event.checkpoint_path for event in scored] == [event.path for event in saved]
    started = events_of(out, "stage_started")
    assert [(event.kind, event.first_step, event.steps) for event in started] == [
        ("cpt", 1, 4),
        ("evaluate", 4, 0),
        ("cpt", 5, 4),
        ("evaluate", 8, 0),
    ]


def test_a_stop_before_the_first_step_leaves_nothing_to_resume_and_says_so(tmp_path: Path, datasets: dict[str, Any]):
    out = write_run(tmp_path / "run", [CPT], datasets)
    stop = StopRequest()
    stop.reason = "received SIGTERM"
    with EventLog(out / "events.jsonl") as events:
        assert run(out, read_spec(out), events, stop) == 4
    assert not (out / "checkpoints").exists()
    stopped = read_events(out)[-1].event
    assert (stopped.type, stopped.step) == ("attempt_stopped", 0)


def test_a_stop_during_an_evaluation_resumes_with_that_evaluation(tmp_path: Path, datasets: dict[str, Any]):
    questions = [{"question": f"Which day {n}?", "choices": ["one", "two"], "answer": n % 2} for n in range(6)]
    datasets["exam@1"] = write_rows(tmp_path / "exam.jsonl", questions, "choices")
    task = {"task": "exam", "dataset": "exam@1", "output_type": "multiple_choice", "metric": "acc"}
    stages = [CPT, {"kind": "evaluate", "tasks": ["exam"]}]

    class StopWhenEvaluating(EventLog):
        def emit(self, event: Any) -> None:
            super().emit(event)
            if event.type == "stage_started" and event.kind == "evaluate":
                stop.reason = "received SIGTERM"

    stop = StopRequest()
    first = write_run(tmp_path / "first", stages, datasets, tasks={"exam": task})
    with StopWhenEvaluating(first / "events.jsonl") as events:
        assert run(first, read_spec(first), events, stop) == 4
    assert events_of(first, "task_scored") == []
    [saved] = events_of(first, "checkpoint_saved")

    checkpoint = str(first / saved.path)
    second = write_run(tmp_path / "second", stages, datasets, tasks={"exam": task}, resume_from=checkpoint)
    assert run_here(second) == 0
    [scored] = events_of(second, "task_scored")
    assert scored.model_sha256 == saved.sha256
    assert (second / scored.checkpoint_path).resolve() == (first / saved.path).resolve()
    assert events_of(second, "checkpoint_saved") == []


def test_a_gpu_that_is_not_there_is_refused(
    tmp_path: Path, datasets: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    out = write_run(tmp_path / "run", [CPT], datasets, device="cuda")
    assert refused(out, capsys).startswith("device: cuda was asked for")


def test_a_loss_that_leaves_the_numbers_fails_before_it_spoils_a_checkpoint(
    tmp_path: Path, datasets: dict[str, Any], capsys: pytest.CaptureFixture[str]
):
    shape = {**TINY, "embedding_std": 1e38, "linear_std": 1e38}
    out = write_run(tmp_path / "run", [{**CPT, "initialise": shape}], datasets)
    assert run_here(out) == 3
    assert metric(out, "train/loss") == {1: "NaN", 2: "NaN", 3: "NaN"}
    assert metric(out, "train/skipped_steps") == {1: 1, 2: 2, 3: 3}
    assert "no number in 3 steps in a row, the last being 3" in events_of(out, "attempt_failed")[0].error
    assert not (out / "checkpoints").exists()


@pytest.mark.parametrize(("name", "field"), [("recipe", "stages"), ("run", "resume_from"), ("event", "seq")])
def test_schemas_are_printed(name: str, field: str, capsys: pytest.CaptureFixture[str]):
    from trainer.__main__ import main

    assert main(["schema", name]) == 0
    assert field in json.loads(capsys.readouterr().out)["properties"]


def test_an_unknown_command_shows_the_usage(capsys: pytest.CaptureFixture[str]):
    from trainer.__main__ import main

    assert main(["trian"]) == 2
    assert "python -m trainer run ATTEMPT_DIR" in capsys.readouterr().err


def test_rows_are_read_by_offset_and_in_order(tmp_path: Path):
    from trainer.data.rows import open_rows

    file = write_rows(tmp_path / "law.jsonl", text_rows(5), "text")
    rows = open_rows("law@1", file)
    assert [rows[n]["text"] for n in (4, 0, 2)] == [text_rows(5)[n]["text"] for n in (4, 0, 2)]
    assert list(rows) == text_rows(5)
    assert hash_file(tmp_path / "law.jsonl") == file.sha256


@pytest.mark.parametrize(("rank", "code"), [({"RANK": "0", "WORLD_SIZE": "2"}, 0), ({}, -signal.SIGABRT)])
def test_nothing_that_breaks_at_the_very_end_takes_a_rank_s_outcome_away(rank: dict[str, str], code: int):
    """Threads of gloo abort now and then while an interpreter is torn down, as this one always does."""
    breaking = "import atexit, os, runpy; atexit.register(os.abort); runpy.run_module('trainer', run_name='__main__')"
    without = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    ended = subprocess.run([sys.executable, "-c", breaking], env={**without, **rank}, capture_output=True, text=True)
    assert ended.returncode == code
    if rank:
        assert ended.stdout.strip() == trainer.__main__.__doc__.strip()
