"""`python -m trainer score`: rewards on answers from elsewhere, broken off and gone on with."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.trainer_runs import REPOSITORY
from trainer import scoring
from trainer.contract.scoring import GroupScores

REWARDS = [{"kind": "exact"}, {"kind": "repetition", "weight": -1.0}]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The command listens for signals; the tests' process goes on with its own handlers."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def write_inputs(folder: Path, groups: list[dict[str, Any]], rewards: Any = None) -> list[str]:
    answers, configs = folder / "answers.jsonl", folder / "rewards.json"
    answers.write_text("".join(json.dumps(group) + "\n" for group in groups))
    configs.write_text(json.dumps(REWARDS[:1] if rewards is None else rewards))
    return [str(answers), "--rewards", str(configs), "--out", str(folder / "scores.jsonl")]


def group(answer: str | None, *texts: str) -> dict[str, Any]:
    row = {"question": "?"} if answer is None else {"question": "?", "answer": answer}
    return {"row": row, "longest": 50, "answers": [{"text": text, "tokens": len(text)} for text in texts]}


def totals(folder: Path) -> list[list[float | None]]:
    lines = (folder / "scores.jsonl").read_text().splitlines()
    return [[score.total for score in GroupScores.model_validate_json(line).scores] for line in lines]


def test_answers_are_valued_as_in_training(tmp_path: Path):
    arguments = write_inputs(tmp_path, [group("4", "4", "5"), group("x", "x")])
    assert scoring.main(arguments) == 0
    assert totals(tmp_path) == [[1.0, 0.0], [1.0]]


def test_a_row_that_lacks_what_a_reward_needs_has_a_fault_and_no_zero(tmp_path: Path):
    assert scoring.main(write_inputs(tmp_path, [group(None, "4"), group("4", "4")])) == 0
    assert totals(tmp_path) == [[None], [1.0]]
    first = GroupScores.model_validate_json((tmp_path / "scores.jsonl").read_text().splitlines()[0])
    assert first.scores[0].faults == {"exact": "The row has no `answer`."}


def test_a_broken_off_call_goes_on_behind_its_last_whole_line(tmp_path: Path):
    arguments = write_inputs(tmp_path, [group("4", "4"), group("5", "4"), group("6", "6")])
    assert scoring.main(arguments) == 0
    whole = (tmp_path / "scores.jsonl").read_bytes()
    first, second, _ = whole.splitlines(keepends=True)
    for left in (b"", first, first + b'{"scor', first + second[:-1], first + second, whole):
        (tmp_path / "scores.jsonl").write_bytes(left)
        assert scoring.main(arguments) == 0
        assert (tmp_path / "scores.jsonl").read_bytes() == whole


def test_two_calls_on_one_file_write_one_after_the_other(tmp_path: Path):
    """A build that was killed may leave its process behind; the next one waits for it and finds all done."""
    arguments = write_inputs(tmp_path, [group(str(number), str(number)) for number in range(40)])
    command = [sys.executable, "-m", "trainer", "score", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    held = (tmp_path / "scores.jsonl").open("a")
    fcntl.flock(held, fcntl.LOCK_EX)
    two = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert (tmp_path / "scores.jsonl").stat().st_size == 0
    held.close()
    assert [process.wait() for process in two] == [0, 0]
    assert totals(tmp_path) == [[1.0]] * 40


@pytest.mark.parametrize(
    ("rewards", "said"),
    [
        ([{"kind": "exakt"}], "rewards[0]"),
        ([{"kind": "exact", "weight": "much"}], "rewards[0].exact.weight"),
        ([{"kind": "cosine", "correct": "nobody"}], "nobody"),
    ],
)
def test_bad_rewards_are_told_and_nothing_is_written(
    rewards: Any, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert scoring.main(write_inputs(tmp_path, [group("4", "4")], rewards)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "scores.jsonl").exists()


def test_a_bad_line_of_answers_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = write_inputs(tmp_path, [group("4", "4"), {"row": {}, "longest": 5, "answers": [{"text": 7}]}])
    assert scoring.main(arguments) == 2
    assert "line 2 of the answers" in capsys.readouterr().err
