"""The embedded broker: kombu's messages in a folder, each of which appears there whole.

kombu opens a file under its final name and fills it afterwards. A worker that looks in between reads an empty message,
and an error while it reads ends the worker. Here a file gets its final name when all of it is written.
"""

import os
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]  # kombu overrides itself so
        folder = Path(self.data_folder_out)
        # Taken in the order of their names; the clock is that of kombu, since both kinds may lie in one folder.
        name = f"{round(monotonic() * 1000)}_{uuid4()}.{queue}.msg"
        unfinished = folder / f".{name}.unfinished"
        try:
            unfinished.write_bytes(dumps(payload).encode())
            unfinished.rename(folder / name)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise ChannelError(f"Cannot add a message to {folder}: {error}") from error

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        table = self._exchange_file(exchange)
        if not table.exists():
            table.parent.mkdir(exist_ok=True)
            empty = table.with_name(f".{uuid4()}.unfinished")
            empty.write_bytes(b"[]")
            with suppress(FileExistsError):  # another process was faster; its table stays
                os.link(empty, table)
            empty.unlink()
        super()._queue_bind(exchange, routing_key, pattern, queue)


class Transport(filesystem.Transport):
    Channel = Channel
