"""Reading the rollouts of a step from the attempt's directory: line by line, whatever happened to the file."""

from collections.abc import Iterator
from pathlib import Path

import zstandard
from pydantic import ValidationError

from chanote.runs.models import RolloutFile
from trainer.contract.rollouts import StoredRollout

READ_BYTES = 1 << 18
LONGEST_LINE = 32 << 20
"""Bytes of one rollout; a line beyond it is taken for damage."""
LARGEST_WINDOW = 128 << 20
"""Bytes that decompression may look back on, and so the most memory it takes."""


class StoredRollouts:
    """The rollouts of one step in the order of the file, one in memory at a time.

    What is wrong with the file stands afterwards in `fault`, one sentence; what could be read was given all the same.
    """

    def __init__(self, file: RolloutFile) -> None:
        self.file = file
        self.fault = ""
        self.read = 0

    def __iter__(self) -> Iterator[StoredRollout]:
        self.fault, self.read = "", 0
        unread, reason = 0, ""
        for number, line in enumerate(self._lines(), start=1):
            try:
                rollout = StoredRollout.model_validate_json(line)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                unread += 1
                reason = reason or f"line {number}: {'.'.join(map(str, first['loc'])) or 'text'}: {first['msg']}"
                continue
            self.read += 1
            yield rollout
        if unread and not self.fault:
            lines = "1 line of the file is no rollout" if unread == 1 else f"{unread} lines of the file are no rollouts"
            self.fault = f"{lines} and {'was' if unread == 1 else 'were'} left out ({reason})."
        if not self.fault and self.read < self.file.rollouts:
            self.fault = self._say("breaks off")

    def _lines(self) -> Iterator[bytes]:
        path = self._find()
        if path is None:
            return
        rest = b""
        try:
            with path.open("rb") as packed:
                reader = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)
                with reader.stream_reader(packed, read_across_frames=True) as stream:
                    while block := stream.read(READ_BYTES):
                        *whole, rest = (rest + block).split(b"\n")
                        yield from filter(None, whole)
                        if len(rest) > LONGEST_LINE:
                            self.fault = self._say("is damaged", f"a line is longer than {LONGEST_LINE >> 20} MiB")
                            return
        except FileNotFoundError:
            self.fault = (
                f"The rollouts of step {self.file.step:,} are gone: {self.file.path} is no longer in the directory of "
                f"attempt {self.file.attempt.number}."
            )
        except (OSError, zstandard.ZstdError) as error:
            self.fault = self._say("is damaged", str(error))
        if rest and not self.fault:
            self.fault = self._say("breaks off", "within a line")

    def _find(self) -> Path | None:
        path = find_file(self.file)
        if path is None:
            self.fault = (
                f"The rollouts of step {self.file.step:,} cannot be read: {self.file.path} leads out of the directory "
                f"of attempt {self.file.attempt.number}."
            )
        return path

    def _say(self, what: str, why: str = "") -> str:
        read = f"{self.read:,} of {self.file.rollouts:,} rollouts"
        return f"The file of step {self.file.step:,} {what} after {read}{f' ({why})' if why else ''}."


def find_file(file: RolloutFile) -> Path | None:
    """Where the rollouts stand, or should; None when the path leads out of the attempt's directory."""
    directory = Path(file.attempt.directory).resolve()
    path = (directory / file.path).resolve()
    return path if path.is_relative_to(directory) else None


def read_group(file: RolloutFile, group: int) -> tuple[list[StoredRollout], str]:
    """All rollouts of one prompt in the order of their places, and what is wrong with the file up to there."""
    found: list[StoredRollout] = []
    rollouts = StoredRollouts(file)
    for rollout in rollouts:
        if rollout.group == group:
            found.append(rollout)
        elif found:
            # Groups stand together: what follows is of others.
            break
    return sorted(found, key=lambda one: one.index), rollouts.fault
