"""Storing the calls of runs: from a file that the trainer left, or from a request."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

import zstandard
from pydantic import ValidationError

from chanote.runs.models import Attempt, Run
from chanote.tools.models import ToolCall
from trainer.contract.tool_calls import StoredToolCall

KEPT_CHARACTERS = 4_000
"""Of arguments and of output each; the policy read more where more is told."""
AT_ONCE = 1_000
LONGEST_LINE = 32 << 20
LARGEST_WINDOW = 128 << 20


class CallsUnreadable(ValueError):
    """The file of a step's calls is not what was told; one sentence."""


def store_calls(run: Run, calls: Iterable[StoredToolCall], *, attempt: Attempt | None = None) -> int:
    """Store what is not stored yet, by the call's identity; how many calls were given.

    Sending the same calls again changes nothing: the first word about a call counts.
    """
    taken, batch = 0, []
    for call in calls:
        batch.append(make_row(run, call, attempt))
        taken += 1
        if len(batch) == AT_ONCE:
            _write(batch)
            batch = []
    _write(batch)
    return taken


def _write(rows: list[ToolCall]) -> None:
    ToolCall.objects.bulk_create(rows, ignore_conflicts=True)


def make_row(run: Run, call: StoredToolCall, attempt: Attempt | None) -> ToolCall:
    return ToolCall(
        run=run,
        attempt=attempt,
        call=clean(call.call),
        step=min(call.step, 2**31 - 1),
        rollout=clean(call.rollout),
        turn=min(call.turn, 2**31 - 1),
        tool=clean(call.tool),
        status=call.status,
        wall_ms=call.wall_ms,
        arguments=clean(call.arguments[:KEPT_CHARACTERS]),
        output=clean(call.output[:KEPT_CHARACTERS]),
        arguments_characters=len(call.arguments),
        output_characters=len(call.output),
        at=None if call.at is None else datetime.fromtimestamp(call.at, UTC),
    )


def clean(text: str) -> str:
    """Text that every database takes: PostgreSQL has no character 0, and half a surrogate pair is no character."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def store_file(attempt: Attempt, relative: str) -> int:
    """Store the calls of a file in the attempt's directory. Raises CallsUnreadable after what could be read."""
    directory = Path(attempt.directory).resolve()
    path = (directory / relative).resolve()
    if not path.is_relative_to(directory):
        raise CallsUnreadable(f"{relative} leads out of the directory of attempt {attempt.number}")
    return store_calls(attempt.run, read_calls(path, relative), attempt=attempt)


def read_calls(path: Path, name: str, *, naming: Sequence[bytes] = ()) -> Iterator[StoredToolCall]:
    """The calls of a file, or those in whose line one of these texts stands. Raises CallsUnreadable."""
    try:
        for number, line in enumerate(_read_lines(path), start=1):
            if naming and not any(text in line for text in naming):
                continue
            try:
                yield StoredToolCall.model_validate_json(line)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                where = ".".join(map(str, first["loc"])) or "text"
                raise CallsUnreadable(f"line {number} of {name} is no tool call ({where}: {first['msg']})") from error
    except (OSError, zstandard.ZstdError) as error:
        raise CallsUnreadable(f"{name} cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _read_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as packed:
        if path.suffix == ".zst":
            reader = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)
            with reader.stream_reader(packed, read_across_frames=True) as stream:
                yield from _split(cast("IO[bytes]", stream), path.name)
        else:
            yield from _split(packed, path.name)


def _split(stream: IO[bytes], name: str) -> Iterator[bytes]:
    rest = b""
    while block := stream.read(1 << 18):
        *whole, rest = (rest + block).split(b"\n")
        yield from filter(None, whole)
        if len(rest) > LONGEST_LINE:
            raise CallsUnreadable(f"a line of {name} is longer than {LONGEST_LINE >> 20} MiB")
    if rest:
        raise CallsUnreadable(f"{name} breaks off within a line")
