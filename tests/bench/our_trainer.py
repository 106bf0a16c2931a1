"""This project's trainer on a run directory, one step at a time: `python -m trainer run`, held up after each step.

python our_trainer.py RUN_DIRECTORY
"""

import sys
from pathlib import Path

from step_gate import Gate

from trainer.__main__ import main
from trainer.contract.events import Event, MetricsLogged
from trainer.events_log import EventLog

gate = Gate()
seen_tokens = [0.0]
write = EventLog.emit


def write_and_wait(log: EventLog, event: Event) -> None:
    write(log, event)
    if isinstance(event, MetricsLogged) and "train/loss" in event.values:
        total = float(event.values.get("train/tokens", 0))
        gate.pass_through(tokens=total - seen_tokens[0])
        seen_tokens[0] = total


EventLog.emit = write_and_wait  # type: ignore[method-assign]
sys.exit(main(["run", str(Path(sys.argv[1]))]))
