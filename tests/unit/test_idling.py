"""The share of a step in which the device did nothing, worked out by hand."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trainer import idling as idling_module
from trainer.idling import Idling, _GpuLook, idle_share


@pytest.mark.parametrize(
    ("wall", "busy", "width", "share"),
    [
        (10.0, 10.0, 1, 0.0),
        (10.0, 4.0, 1, 0.6),
        (10.0, 5.0, 2, 0.75),  # one of two threads, half of the time
        (10.0, 0.0, 4, 1.0),
        (10.0, 12.0, 1, 0.0),  # what other threads of the process do counts, and is not less than nothing idle
        (0.0, 0.0, 1, 0.0),
    ],
)
def test_what_could_have_been_busy_and_was_not(wall: float, busy: float, width: int, share: float):
    assert idle_share(wall=wall, busy=busy, width=width) == pytest.approx(share)


def test_spans_are_added_up_and_what_lies_between_them_is_not(monkeypatch: pytest.MonkeyPatch):
    """3 s of 4 busy, a pause that does not count, 1 s of 4 busy: half of 8 s."""
    walls, works = iter([10.0, 14.0, 100.0, 104.0]), iter([2.0, 5.0, 50.0, 51.0])
    clocks = SimpleNamespace(perf_counter=lambda: next(walls), process_time=lambda: next(works))
    monkeypatch.setattr(idling_module, "time", clocks)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    idling = Idling(torch.device("cpu"))
    for _ in range(2):
        with idling:
            pass
    assert idling.take() == pytest.approx(0.5)
    assert idling.take() == 0.0  # begun anew


def test_a_gpu_is_busy_for_as_long_as_its_driver_says():
    looks = [40, 100]
    enough = threading.Event()

    def read(_: Any) -> int:
        if not looks:
            enough.set()
            return 0
        return looks.pop(0)

    begun = time.perf_counter()
    look = _GpuLook(torch.device("cuda", 0), read)
    assert enough.wait(60)
    look.close()
    assert look.works
    assert 0.1 < look.busy < time.perf_counter() - begun


def test_without_a_driver_that_tells_there_is_no_figure():
    asked = threading.Event()

    def read(_: Any) -> int:
        asked.set()
        raise ModuleNotFoundError("no library of the driver")

    idling = Idling(torch.device("cpu"))
    idling._gpu = _GpuLook(torch.device("cuda", 0), read)
    idling._gpu.thread.join(60)
    assert asked.is_set()
    with idling:
        pass
    assert idling.take() is None
