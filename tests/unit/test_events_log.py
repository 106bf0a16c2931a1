"""The event log after crashes, on full disks and under two writers."""

import resource
from pathlib import Path

import pytest

from trainer.contract import parse_event
from trainer.contract.events import MetricsLogged, StageFinished
from trainer.events_log import EventLog, json_number
from trainer.failures import EventsUnwritable, RunFailed


def sequence(path: Path) -> list[int]:
    return [parse_event(line).seq for line in path.read_bytes().splitlines()]


def write(path: Path, count: int) -> None:
    with EventLog(path) as events:
        for step in range(count):
            events.emit(StageFinished(stage=0, step=step))


def test_numbers_continue_without_gaps(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    write(path, 3)
    write(path, 2)
    assert sequence(path) == [0, 1, 2, 3, 4]


def test_a_line_torn_by_a_crash_is_replaced(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    write(path, 2)
    with path.open("ab") as file:
        file.write(b'{"seq":2,"at":17')
    write(path, 1)
    assert sequence(path) == [0, 1, 2]


def test_a_file_with_nothing_but_a_torn_line_starts_at_zero(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"seq":0,"a')
    write(path, 1)
    assert sequence(path) == [0]


def test_every_event_is_on_disk_when_emit_returns(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    with EventLog(path) as events:
        events.emit(StageFinished(stage=0, step=1))
        assert sequence(path) == [0]


def test_a_file_of_something_else_is_not_written_over(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    path.write_text("my notes\n")
    with pytest.raises(RunFailed, match="no event"):
        EventLog(path)
    assert path.read_text() == "my notes\n"


def test_a_second_writer_is_refused(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    with EventLog(path), pytest.raises(EventsUnwritable, match="another process"):
        EventLog(path)


def test_a_full_disk_leaves_no_torn_line(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    write(path, 2)
    size = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with EventLog(path) as events:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))
        try:
            with pytest.raises(EventsUnwritable, match="takes no more events"):
                events.emit(StageFinished(stage=0, step=9))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.stat().st_size == size
        events.emit(StageFinished(stage=0, step=9))
    assert sequence(path) == [0, 1, 2]


def test_values_that_json_cannot_write_have_names(tmp_path: Path):
    values = {"a": float("nan"), "b": float("inf"), "c": float("-inf"), "d": 0.1}
    with EventLog(tmp_path / "events.jsonl") as events:
        events.emit(MetricsLogged(stage=0, step=1, values={key: json_number(value) for key, value in values.items()}))
    event = parse_event((tmp_path / "events.jsonl").read_bytes()).event
    assert event.values == {"a": "NaN", "b": "Infinity", "c": "-Infinity", "d": 0.1}  # type: ignore[union-attr]
