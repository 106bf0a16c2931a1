"""Being asked to stop."""

import signal
from types import FrameType

from trainer.failures import StopNow


def hear_no_more() -> None:
    """Let a process whose outcome is decided end with it. Python gives caught signals their default while it ends,
    and a stop that comes then would turn a finished run into a killed one."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


class StopRequest:
    """Remembers the first SIGTERM or SIGINT; work looks at it where it can end cleanly."""

    def __init__(self) -> None:
        self.reason = ""

    def listen(self) -> None:
        """Catch the signals of this process from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._remember)

    def __call__(self) -> bool:
        return bool(self.reason)

    def leave_if_asked(self) -> None:
        """Raises StopNow when a stop was asked for."""
        if self.reason:
            raise StopNow(self.reason)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.reason = self.reason or f"received {signal.Signals(number).name}"
