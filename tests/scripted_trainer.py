"""A trainer that does what its recipe's description says, to kill and tear at chosen moments without waiting for torch.

It writes real events through the real event log. The description holds words such as `wait=5 deaf child full`;
`wait=5` stays at step 5 until the file `go` lies in the attempt directory or a stop is asked for.
Called like the trainer: `python scripted_trainer.py run DIRECTORY`.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from trainer.contract.base import ExitCode
from trainer.contract.events import (
    AttemptStarted,
    AttemptStopped,
    CheckpointSaved,
    MetricsLogged,
    PhaseProgressed,
    RunFinished,
    StageStarted,
)
from trainer.contract.spec import RunSpec
from trainer.events_log import EventLog
from trainer.failures import EventsUnwritable
from trainer.stopping import StopRequest


def main(directory: Path) -> int:
    stop = StopRequest()
    stop.listen()
    spec = RunSpec.model_validate_json((directory / "run.json").read_bytes())
    words = dict(word.partition("=")[::2] for word in spec.recipe.description.split())
    steps = int(spec.recipe.stages[0].steps or 0)  # type: ignore[attr-defined]
    done = int(spec.resume_from.rpartition("-")[2]) if spec.resume_from else 0
    if "child" in words:
        subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        with EventLog(directory / "events.jsonl") as events:
            tell_start(events, steps, done if spec.resume_from else None)
            for step in range(done + 1, steps + 1):
                # The attempt is part of the value, so that a test sees which attempt told a step.
                events.emit(MetricsLogged(stage=0, step=step, values={"train/loss": step + spec.attempt / 10}))
                if step == int(words.get("tear", 0)):
                    tear(directory)
                if "full" in words:
                    fill(directory, events)
                while str(step) in words.get("wait", "").split(",") and not (directory / "go").exists() and not stop():
                    time.sleep(0.02)
                time.sleep(0.005)
                if stop() and "deaf" not in words:
                    save(directory, events, step)
                    events.emit(AttemptStopped(step=step, reason=stop.reason))
                    return ExitCode.STOPPED
                if step == int(words.get("save", 0)):
                    save(directory, events, step)
            events.emit(RunFinished(step=steps))
    except EventsUnwritable as error:
        print(error, file=sys.stderr)
        return ExitCode.FAILED
    return ExitCode.FINISHED


def tell_start(events: EventLog, steps: int, resumed: int | None) -> None:
    events.emit(
        AttemptStarted(
            pid=os.getpid(),
            hostname="here",
            device="cpu",
            threads=1,
            packages={},
            hardware={},
            resumed_from_step=resumed,
        )
    )
    events.emit(StageStarted(stage=0, kind="cpt", name="", first_step=1, steps=steps))


def save(directory: Path, events: EventLog, step: int) -> None:
    path = f"checkpoints/step-{step:06d}"
    (directory / path).mkdir(parents=True)
    events.emit(CheckpointSaved(stage=0, step=step, path=path, sha256="0" * 64, bytes=0, stage_finished=False))


def tear(directory: Path) -> None:
    """Die in the middle of a line."""
    with (directory / "events.jsonl").open("ab") as file:
        file.write(b'{"seq": 999, "at": 17')
    os.kill(os.getpid(), 9)


def fill(directory: Path, events: EventLog) -> None:
    """Fill the disk, then go on telling until no event fits any more."""
    with (directory / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"0" * 4096)
        except OSError:
            pass
    while True:
        events.emit(PhaseProgressed(stage=0, phase="filling the disk", done=0, total=0))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[2])))
