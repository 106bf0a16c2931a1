"""Valuing answers by the trainer's rewards, in a process of its own.

The platform never imports the trainer's code, and a copy of the rewards here would soon value otherwise than training
does. `python -m trainer score` is the trainer's own command: the same configs, the same rules, the same sandbox for
programs. It appends scores group by group, so a build that is killed goes on behind the last one.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from chanote.errands.work import WorkRefused
from chanote.runs.processes import trainer_command, trainer_environment
from trainer.contract import ExitCode
from trainer.contract.rewards import RewardList
from trainer.contract.scoring import REWARDS, GroupScores

LOOK_SECONDS = 0.2
PATIENCE_SECONDS = 30.0
"""From the wish to end until the process is killed."""
TOLD = 2000
"""Characters of what the process said last that a person is shown."""


def score_answers(answers: Path, folder: Path, rewards: RewardList, *, tell: Callable[[int], None]) -> Path:
    """The file of scores, a line for each group of the answers. `tell` hears of groups scored, and may raise to end it.

    Raises WorkRefused with the trainer's own sentence.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rewards.json").write_bytes(REWARDS.dump_json(rewards))
    scores = folder / "scores.jsonl"
    with (folder / "said.log").open("wb") as said:
        process = _start(answers, folder, scores, said.fileno())
        try:
            place = done = 0
            while process.poll() is None:
                place, done = _count_on(scores, place, done)
                tell(done)
                time.sleep(LOOK_SECONDS)
        except BaseException:
            _end(process)
            raise
    if process.returncode != ExitCode.FINISHED:
        words = (folder / "said.log").read_text(errors="replace")[-TOLD:].strip()
        last = words.splitlines()[-1] if words else f"it ended with code {process.returncode}"
        raise WorkRefused(f"The rewards could not be computed: {last.removeprefix('trainer score: ')}")
    return scores


def read_scores(path: Path) -> Iterator[GroupScores]:
    with path.open("rb") as lines:
        for line in lines:
            yield GroupScores.model_validate_json(line)


def _start(answers: Path, folder: Path, scores: Path, said: int) -> "subprocess.Popen[bytes]":
    command = ["score", str(answers), "--rewards", str(folder / "rewards.json"), "--out", str(scores)]
    return subprocess.Popen(
        [*trainer_command(), *command],
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
        cwd=folder,
        env=trainer_environment(),
    )


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _count_on(path: Path, place: int, lines: int) -> tuple[int, int]:
    """How far the file was read and how many lines it had up to there; a torn last line of an earlier call may go."""
    if not path.exists():
        return 0, 0
    with path.open("rb") as file:
        file.seek(place)
        new = file.read()
    end = new.rfind(b"\n") + 1
    return place + end, lines + new.count(b"\n", 0, end)
