"""The process that stays with one attempt until its end.

    python -m chanote.runs.supervisor ATTEMPT FENCE

It outlives the worker that started it, in a session of its own. SIGTERM parks the run: the trainer saves a checkpoint,
and the run goes back into the queue for the next start of the platform.
"""

import os
import signal
import sys
from types import FrameType

import django

SIGNALS: list[int] = []


def note_signal(number: int, frame: FrameType | None) -> None:
    SIGNALS.append(number)


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, note_signal)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    attempt_id, fence = (int(argument) for argument in arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chanote.settings")
    django.setup()
    from chanote.runs.supervision import Supervision

    Supervision(attempt_id, fence, parking=lambda: bool(SIGNALS)).watch()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
