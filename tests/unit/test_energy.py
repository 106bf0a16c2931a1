"""Energy of an attempt: from counters of a made-up machine, from set watts, or unknown, never invented."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trainer import energy
from trainer.contract.events import EnergyPart
from trainer.energy import Meter, ProcessShare, SmiPower, add_parts, choose_gauges, mean_watts, open_zones, read_watts

CPU = torch.device("cpu")


def write_zone(root: Path, zone: str, name: str, microjoules: int, *, most: int = 262_143_328_850) -> Path:
    folder = root / zone
    folder.mkdir(parents=True)
    for file, value in (("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", most)):
        (folder / file).write_text(f"{value}\n", encoding="ascii")
    return folder / "energy_uj"


@pytest.fixture
def tree(tmp_path: Path) -> dict[str, Path]:
    """Two packages, one with memory; cores, platform and the second way to a package must not be counted twice."""
    return {
        "first": write_zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000),
        "cores": write_zone(tmp_path, "intel-rapl:0:0", "core", 1_000_000),
        "memory": write_zone(tmp_path, "intel-rapl:0:1", "dram", 2_000_000),
        "second": write_zone(tmp_path, "intel-rapl:1", "package-1", 7_000_000, most=10_000_000),
        "platform": write_zone(tmp_path, "intel-rapl:2", "psys", 1_000_000),
        "again": write_zone(tmp_path, "intel-rapl-mmio:0", "package-0", 5_000_000),
    }


def told(meter: Meter) -> list[dict[str, Any]]:
    return [part.model_dump() for part in meter.read()]


def test_packages_and_memory_are_added_and_a_counter_that_began_again_is_noticed(tmp_path, tree):
    meter = Meter(choose_gauges(CPU, root=tmp_path, watts=300))
    tree["first"].write_text("9000000")
    tree["memory"].write_text("2500000")
    tree["second"].write_text("9000000")
    for ignored in ("cores", "platform", "again"):
        tree[ignored].write_text("900000000")
    # 4 J + 0.5 J + 2 J
    assert told(meter) == [{"what": "cpu", "basis": "measured", "source": "package-0, dram, package-1", "joules": 6.5}]
    tree["second"].write_text("3000000")
    # 9 J up to the end of its range at 10 J, and 3 J from there.
    assert told(meter)[0]["joules"] == 6.5 + 1 + 3
    meter.close()


def test_each_time_that_a_counter_begins_again_counts(tmp_path):
    counter = write_zone(tmp_path, "intel-rapl:0", "package-0", 0, most=10_000_000)
    (zone,) = open_zones(tmp_path)
    for reading in (8, 2, 9, 1):  # 8 + 4 + 7 + 2
        counter.write_text(str(reading * 1_000_000))
        zone.look()
    assert zone.joules == 21.0


def test_counters_that_may_not_be_read_leave_an_estimate_if_somebody_set_watts(tmp_path, tree, monkeypatch):
    real = Path.read_text

    def refuse(self: Path, **how: Any) -> str:
        if self == tree["second"]:
            raise PermissionError(13, "Permission denied")
        return real(self, **how)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert told(Meter(choose_gauges(CPU, root=tmp_path))) == [
        {"what": "cpu", "basis": "unknown", "source": "", "joules": None}
    ]
    (gauge,) = choose_gauges(CPU, root=tmp_path, watts=120)
    assert gauge.basis == "estimated"


def test_a_counter_that_breaks_later_leaves_nothing_that_passes_for_the_whole(tmp_path, tree):
    meter = Meter(choose_gauges(CPU, root=tmp_path))
    tree["first"].write_text("9000000")
    tree["second"].write_text("not a number")
    assert told(meter) == [{"what": "cpu", "basis": "unknown", "source": "", "joules": None}]
    meter.close()


def test_an_estimate_is_the_set_watts_by_the_share_of_the_cores(monkeypatch):
    clock = iter([10.0, 70.0])
    share = ProcessShare(240, cores=8, seconds=lambda: next(clock))
    share.look()
    assert share.joules == 240 / 8 * 60
    assert share.words == "240 W set for 8 cores"


@pytest.mark.parametrize("text", [None, "", "many", "0", "-5", "nan", "inf", "1e9"])
def test_watts_that_are_no_watts_estimate_nothing(text):
    assert read_watts(text) is None


def test_the_second_process_of_a_machine_does_not_count_its_packages_again(tmp_path, tree):
    assert choose_gauges(CPU, root=tmp_path, first_here=False) == []
    assert choose_gauges(CPU, root=tmp_path / "nowhere", first_here=False) == []
    (gauge,) = choose_gauges(CPU, root=tmp_path / "nowhere", watts=100, first_here=False)
    assert gauge.basis == "estimated", "each process has its own share of the cores"


def part(joules: float | None, *, what: str = "cpu", basis: str = "measured", source: str = "package-0") -> EnergyPart:
    return EnergyPart(what=what, basis=basis, source=source, joules=joules)  # type: ignore[arg-type]


def test_several_processes_add_up_and_what_one_does_not_know_stays_unknown():
    ranks = [
        [part(40), part(100, what="gpu", source="NVML")],
        [part(110, what="gpu", source="NVML")],
        [part(2), part(None, what="gpu", basis="unknown", source="")],
    ]
    assert [(one.what, one.basis, one.joules) for one in add_parts(ranks)] == [
        ("cpu", "measured", 42),
        ("gpu", "measured", 210),
        ("gpu", "unknown", None),
    ]


def test_power_between_two_readings():
    assert mean_watts([part(100)], [part(400)], seconds=3) == 100
    assert mean_watts([part(100)], [part(400), part(None, basis="unknown", source="")], seconds=3) is None


def test_power_that_nvidia_smi_tells_is_integrated(tmp_path, monkeypatch):
    """100 W rising to 300 W in 10 s, then falling to 0 in 5 s: 2,000 J and 750 J."""
    answers = tmp_path / "answer"
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat {answers}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    answers.write_text("GPU-other, 700.00\nGPU-mine, 100.00\n")
    at = iter([0.0, 10.0, 15.0, 20.0])
    power = SmiPower("GPU-mine", clock=lambda: next(at))
    for watts, joules in (("300.00", 2000), ("0.0", 2750)):
        answers.write_text(f"GPU-other, 700.00\nGPU-mine, {watts}\n")
        power.look()
        assert power.joules == joules
    answers.write_text("GPU-mine, [N/A]\n")
    power.look()
    assert power.joules is None
    with pytest.raises(ValueError, match="does not know"):
        SmiPower("GPU-none")


def test_the_drivers_counter_is_taken_where_pynvml_is_installed(monkeypatch):
    millijoules = iter([5_000, 12_000])
    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda found: next(millijoules) if found == "GPU-mine" else 0,
    )
    monkeypatch.setitem(__import__("sys").modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="mine"))
    counter = energy.open_gpu(torch.device("cuda", 0))
    assert counter is not None
    counter.look()
    assert (counter.words, counter.joules) == ("NVML", 7.0)
