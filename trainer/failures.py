"""How a trainer process ends early. Every message is a sentence for the person who launched the run."""

from collections.abc import Sequence


class InvalidSpec(Exception):
    """The run cannot start as it was asked for; one sentence per error, each naming its field. Exit code 2."""

    def __init__(self, errors: str | Sequence[str]) -> None:
        self.errors = [errors] if isinstance(errors, str) else list(errors)
        super().__init__(" ".join(self.errors))


class RunFailed(Exception):
    """Something outside of the spec broke: a disk, a file that changed, a value that left the numbers. Exit code 3."""


class EventsUnwritable(RunFailed):
    """`events.jsonl` takes no more lines, so nobody could be told: only stderr can say it."""


class NothingLearnt(RunFailed):
    """Several steps in a row brought nothing: no number, or nothing that could be valued. The weights are as good as
    before them, so a checkpoint is saved on the way out.
    """


class StopNow(Exception):
    """A stop was asked for while no optimiser step was being made."""
