"""What a person reads of a run in the attempt's output."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.contract.events import AttemptFailed, CheckpointSaved, MetricsLogged, PhaseProgressed, StageStarted
from trainer.telling import Teller, describe

REPOSITORY = Path(__file__).resolve().parents[2]


def test_events_become_sentences():
    started = StageStarted(stage=1, kind="sft", name="", first_step=101, steps=300)
    assert describe(started) == "stage 2 (sft) begins, 300 steps from step 101"
    saved = CheckpointSaved(
        stage=1, step=400, path="checkpoints/step-400", sha256="0" * 64, bytes=1_600_000, stage_finished=True
    )
    assert describe(saved) == "step 400 saved to checkpoints/step-400 (1.6 MB)"
    assert describe(AttemptFailed(error="memory is full.")) == "failed: memory is full."
    assert describe(PhaseProgressed(stage=0, phase="tokenising", done=1, total=2)) == ""


def test_metrics_are_told_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    clock = iter([0.0, 0.0, 1.0, 11.0, 11.0])
    monkeypatch.setattr("trainer.telling.time.monotonic", lambda: next(clock))
    teller = Teller()
    for step in (1, 2, 3):
        teller.tell(MetricsLogged(stage=0, step=step, values={"train/loss": 2.5 / step, "train/grad_norm": "NaN"}))
    assert [line.partition(" ")[2] for line in capsys.readouterr().out.splitlines()] == [
        "step 1: loss 2.5",
        "step 3: loss 0.83333",
    ]


def test_an_output_that_is_full_does_not_end_the_run():
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    program = "from trainer.telling import say; [say('line') for _ in range(9)]; raise SystemExit(3)"
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, stdout=full, stderr=full, check=False)
    assert ended.returncode == 3


def test_a_stream_without_a_file_is_written_too():
    from trainer.telling import say

    stream = io.StringIO()
    say("ready", stream)
    assert stream.getvalue() == "ready\n"
