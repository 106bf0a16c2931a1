"""Reading the rollouts of a step from the attempt's directory: line by line, whatever happened to the file."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

import zstandard
from pydantic import ValidationError

from chanote.runs.models import RolloutFile, RolloutRow
from trainer.contract.rollouts import StoredRollout
from trainer.contract.tool_calls import StoredToolCall

READ_BYTES = 1 << 18
LONGEST_LINE = 32 << 20
"""Bytes of one rollout; a line beyond it is taken for damage."""
LARGEST_WINDOW = 128 << 20
"""Bytes that decompression may look back on, and so the most memory it takes."""


class CallsUnreadable(ValueError):
    """The file of a step's calls is not what was told; one sentence without its end."""


class StoredRollouts:
    """The rollouts of one step in the order of the file, one in memory at a time.

    What is wrong with the file stands afterwards in `fault`, one sentence; what could be read was given all the same.
    """

    def __init__(self, file: RolloutFile) -> None:
        self.file = file
        self.fault = ""
        self.read = 0
        self.is_gone = False

    def __iter__(self) -> Iterator[StoredRollout]:
        return (rollout for _, rollout in self.with_offsets())

    def with_offsets(self) -> Iterator[tuple[int, StoredRollout]]:
        """Each with where its line begins in the unpacked file, in bytes."""
        self.fault, self.read = "", 0
        unread, reason = 0, ""
        for number, (offset, line) in enumerate(self._lines(), start=1):
            try:
                rollout = StoredRollout.model_validate_json(line)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                unread += 1
                reason = reason or f"line {number}: {'.'.join(map(str, first['loc'])) or 'text'}: {first['msg']}"
                continue
            self.read += 1
            yield offset, rollout
        if unread and not self.fault:
            lines = "1 line of the file is no rollout" if unread == 1 else f"{unread} lines of the file are no rollouts"
            self.fault = f"{lines} and {'was' if unread == 1 else 'were'} left out ({reason})."
        if not self.fault and self.read < self.file.rollouts:
            self.fault = self._say("breaks off")

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        path = self._find()
        if path is None:
            return
        rest, offset = b"", 0
        try:
            with path.open("rb") as packed:
                reader = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)
                with reader.stream_reader(packed, read_across_frames=True) as stream:
                    while block := stream.read(READ_BYTES):
                        *whole, rest = (rest + block).split(b"\n")
                        for line in whole:
                            if line:
                                yield offset, line
                            offset += len(line) + 1
                        if len(rest) > LONGEST_LINE:
                            self.fault = self._say("is damaged", f"a line is longer than {LONGEST_LINE >> 20} MiB")
                            return
        except FileNotFoundError:
            self.is_gone = True
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
    offsets = list(RolloutRow.objects.filter(file=file, group=group).values_list("offset", flat=True))
    found = [one for one in read_at(file, offsets) if one.group == group]
    if found and len(found) == len(offsets):
        return sorted(found, key=lambda one: one.index), ""
    # The file is not as it was when its rows were made, or has none: look through all of it.
    rollouts = StoredRollouts(file)
    found = [one for one in rollouts if one.group == group]
    return sorted(found, key=lambda one: one.index), rollouts.fault


def read_at(file: RolloutFile, offsets: Collection[int]) -> Iterator[StoredRollout]:
    """The rollouts whose lines begin at these places of the unpacked file, in its order; what is none is passed over.

    What stands before them is unpacked but not looked at. Ends early where the file does, or cannot be read.
    """
    wanted = sorted(offsets)
    path = find_file(file)
    if path is None or not wanted:
        return
    try:
        with path.open("rb") as packed:
            reader = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)
            with reader.stream_reader(packed, read_across_frames=True) as stream:
                yield from _parse(_pick_lines(cast("IO[bytes]", stream), wanted))
    except (OSError, zstandard.ZstdError):
        return


def _pick_lines(stream: IO[bytes], wanted: Sequence[int]) -> Iterator[bytes]:
    """The lines that begin at these offsets, which ascend."""
    held, start = b"", 0
    for offset in wanted:
        while True:
            passed = min(offset - start, len(held))
            held, start = held[passed:], start + passed
            end = held.find(b"\n") if start == offset else -1
            if end >= 0:
                yield held[:end]
                break
            block = stream.read(READ_BYTES)
            if not block or len(held) > LONGEST_LINE:
                return
            held += block


def _parse(lines: Iterator[bytes]) -> Iterator[StoredRollout]:
    for line in lines:
        with suppress(ValidationError):
            yield StoredRollout.model_validate_json(line)


def read_step_calls(file: RolloutFile, places: Collection[str] = ()) -> Iterator[StoredToolCall]:
    """The tool calls of a step, or of these rollouts of it, in the order of the file.

    Raises CallsUnreadable after what could be read.
    """
    from chanote.tools.calls import CallsUnreadable as Broken
    from chanote.tools.calls import read_calls

    if not file.calls_path:
        return
    directory = Path(file.attempt.directory).resolve()
    path = (directory / file.calls_path).resolve()
    if not path.is_relative_to(directory):
        raise CallsUnreadable(f"{file.calls_path} leads out of the directory of attempt {file.attempt.number}")
    naming = [f'"{place}"'.encode() for place in places]
    try:
        for call in read_calls(path, file.calls_path, naming=naming):
            if not places or call.rollout in places:
                yield call
    except Broken as error:
        raise CallsUnreadable(str(error)) from error
