"""Being asked to stop."""

import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from trainer.failures import StopNow

if TYPE_CHECKING:
    from trainer.ranks import Ranks


def hear_no_more() -> None:
    """Let a process whose outcome is decided end with it. Python gives caught signals their default while it ends,
    and a stop that comes then would turn a finished run into a killed one."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def end_process(outcome: int) -> NoReturn:
    """End with this exit code. A rank leaves without tearing its interpreter down: threads of gloo that
    `destroy_process_group` left behind abort about one process in forty there, and so a finished run would fail.
    """
    hear_no_more()
    if "WORLD_SIZE" not in os.environ:
        sys.exit(outcome)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(outcome)


class StopRequest:
    """Remembers the first SIGTERM or SIGINT; work looks at it where it can end cleanly.

    Of several ranks none leaves alone: they leave together, where all of them pass.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.ranks: Ranks | None = None
        """Set once there are others."""

    def listen(self) -> None:
        """Catch the signals of this process from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._remember)

    def __call__(self) -> bool:
        return bool(self.reason)

    def leave_if_asked(self) -> None:
        """Raises StopNow when a stop was asked for; with other ranks not before all of them pass `leave_together`."""
        if self.reason and (self.ranks is None or self.ranks.count == 1):
            raise StopNow(self.reason)

    def leave_together(self) -> None:
        """Raises StopNow on every rank when one of them was asked. Every rank must come by here equally often."""
        reasons = [self.reason] if self.ranks is None else self.ranks.gather(self.reason)
        if reason := next(filter(None, reasons), ""):
            raise StopNow(reason)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.reason = self.reason or f"received {signal.Signals(number).name}"
