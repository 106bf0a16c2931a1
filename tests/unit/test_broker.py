"""The embedded broker's messages are whole as soon as they can be seen."""

import multiprocessing
import time
from pathlib import Path
from queue import Empty

import pytest
from kombu import Connection

from chanote.celery import app
from chanote.runs.broker import Transport

MESSAGES = 3000


def connect(folder: Path, transport: type = Transport) -> Connection:
    folders = {name: str(folder / name) for name in ("messages", "processed", "control")}
    for made in folders.values():
        Path(made).mkdir(exist_ok=True)
    options = {
        "data_folder_in": folders["messages"],
        "data_folder_out": folders["messages"],
        "processed_folder": folders["processed"],
        "control_folder": folders["control"],
        "store_processed": True,
    }
    return Connection("filesystem://localhost", transport=transport, transport_options=options)


def send_many(folder: Path) -> None:
    with connect(folder) as connection:
        channel = connection.channel()
        for number in range(MESSAGES):
            channel._put("work", {"number": number, "filling": "x" * 2000})


def test_the_platform_uses_it():
    assert isinstance(app.connection().transport, Transport)


def test_a_reader_beside_a_writer_never_sees_half_a_message(tmp_path):
    with connect(tmp_path) as connection:
        channel = connection.channel()
        writer = multiprocessing.get_context("spawn").Process(target=send_many, args=(tmp_path,))
        writer.start()
        seen, end = [], time.monotonic() + 120
        while len(seen) < MESSAGES and time.monotonic() < end:
            try:
                seen.append(channel._get("work")["number"])
            except Empty:
                continue
        writer.join()
    assert sorted(seen) == list(range(MESSAGES))


def bind_many(folder: Path, exchange: str) -> None:
    with connect(folder) as connection:
        connection.channel()._queue_bind(exchange, "", "", "work")


def test_many_who_bind_at_once_read_a_whole_table(tmp_path):
    """Each new table is begun by whoever comes first; nobody reads it empty."""
    with connect(tmp_path) as connection, multiprocessing.get_context("spawn").Pool(4) as pool:
        names = [f"exchange{number}" for number in range(60)]
        pool.starmap(bind_many, [(tmp_path, name) for name in names for _ in range(4)], chunksize=1)
        channel = connection.channel()
        assert [channel.get_table(name) for name in names] == [[("", "", "work")]] * len(names)


def test_a_message_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    with connect(tmp_path) as connection:
        channel = connection.channel()
        monkeypatch.setattr(Path, "write_bytes", fail)
        with pytest.raises(Exception, match="Cannot add a message"):
            channel._put("work", {})
    assert not list((tmp_path / "messages").iterdir())
