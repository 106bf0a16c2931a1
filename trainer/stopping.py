"""Being asked to stop."""

import signal
from types import FrameType

from trainer.failures import StopNow


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
