"""Small real runs for the trainer's tests: datasets written to disk, specs, processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.contract import DatasetFile, EventLine, parse_event
from trainer.contract.hashing import hash_file
from trainer.events_log import EventLog
from trainer.stopping import StopRequest

if TYPE_CHECKING:
    from trainer.session import Session

REPOSITORY = Path(__file__).resolve().parent.parent
PLACES = ("Nakhon", "Ban Mai", "เชียงดาว", "แม่ริม", "Pak Nam", "ลำปาง", "Doi Saket")
TINY = {
    "hidden_size": 32,
    "layers": 2,
    "heads": 2,
    "kv_heads": 1,
    "head_dim": 16,
    "ffn_size": 48,
    "context_length": 128,
    "tokenizer": {"vocab_size": 320},
}


def law_texts(count: int, *, start: int = 0) -> list[str]:
    """Sections of a made-up code of law, of unequal length."""
    return [
        f"มาตรา {n} The market of {PLACES[n % 7]} opens on day {n % 28 + 1}." + " It closes at dusk." * (n % 4)
        for n in range(start, start + count)
    ]


def text_rows(count: int, *, start: int = 0) -> list[dict[str, Any]]:
    return [{"text": text} for text in law_texts(count, start=start)]


def chat_rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"When does the market of {PLACES[n % 7]} open?"},
                {"role": "assistant", "content": f"On day {n % 28 + 1}." + " It closes at dusk." * (n % 3)},
            ]
        }
        for n in range(count)
    ]


def write_rows(path: Path, rows: list[dict[str, Any]], kind: str) -> DatasetFile:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return DatasetFile(kind=kind, path=str(path), sha256=hash_file(path), rows=len(rows))


def write_run(
    out: Path, stages: list[dict[str, Any]], datasets: dict[str, DatasetFile], *, seed: int = 3, **fields: Any
) -> Path:
    """Make an attempt directory with its run.json."""
    out.mkdir(parents=True, exist_ok=True)
    recipe = {"seed": seed, "stages": stages, **fields.pop("recipe", {})}
    files = {name: file.model_dump() for name, file in datasets.items()}
    spec = {"run": "test", "recipe": recipe, "datasets": files, "device": "cpu", **fields}
    (out / "run.json").write_text(json.dumps(spec), encoding="utf-8")
    return out


def trainer_process(*arguments: str, **options: Any) -> "subprocess.Popen[str]":
    """A trainer as a user starts it, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        [sys.executable, "-m", "trainer", *arguments],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def run_trainer(*arguments: str, seconds: float = 240, **options: Any) -> "subprocess.CompletedProcess[str]":
    process = trainer_process(*arguments, **options)
    stdout, stderr = process.communicate(timeout=seconds)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def run_watched(out: Path, *, quiet: float = 60, start: float = 240) -> "subprocess.CompletedProcess[str]":
    """A run that is ended when it tells nothing for `quiet` seconds, as one whose processes wait for each other.

    Importing torch on a busy machine takes its time: up to the first event `start` seconds may pass.
    """
    process = trainer_process("run", str(out), start_new_session=True)
    events, told, since = out / "events.jsonl", 0, time.monotonic()
    while True:
        try:
            stdout, stderr = process.communicate(timeout=0.5)
            return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
        except subprocess.TimeoutExpired:
            size = events.stat().st_size if events.exists() else 0
            if size > told:
                told, since = size, time.monotonic()
            elif time.monotonic() - since > (quiet if told else start):
                os.killpg(process.pid, signal.SIGKILL)
                _, stderr = process.communicate()
                raise AssertionError(f"no event for {quiet if told else start} s\n{stderr}") from None


def run_here(out: Path) -> int:
    """A run inside this process, where it would be a waste to import torch again."""
    from trainer.__main__ import run_attempt

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return int(run_attempt(out))
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def open_here(out: Path) -> "Session":
    """The session of an attempt, opened inside this process."""
    from trainer.session import open_session
    from trainer.spec_file import read_spec

    return open_session(out, read_spec(out), EventLog(out / "events.jsonl"), StopRequest())


def read_events(out: Path) -> list[EventLine]:
    return [parse_event(line) for line in (out / "events.jsonl").read_bytes().splitlines()]


def events_of(out: Path, kind: str) -> list[Any]:
    return [line.event for line in read_events(out) if line.event.type == kind]


def metric(out: Path, key: str) -> dict[int, float]:
    """Values of one metric by step."""
    return {event.step: event.values[key] for event in events_of(out, "metrics_logged") if key in event.values}
