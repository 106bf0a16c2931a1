"""What the trainer runs on."""

import contextlib
import os
import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from trainer.failures import InvalidSpec

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")


def choose_device(wanted: str) -> torch.device:
    """`auto` takes the first GPU when there is one. On the CPU, results are made repeatable bit for bit."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InvalidSpec("device: cuda was asked for and this machine shows no GPU to torch; use auto or cpu.")
    device = torch.device("cpu")
    if wanted != "cpu" and torch.cuda.is_available():
        place = int(os.environ.get("LOCAL_RANK", "0"))
        if place >= torch.cuda.device_count():
            raise InvalidSpec(
                f"processes: process {place + 1} has no GPU of its own, this machine shows {torch.cuda.device_count()} "
                "to torch; ask for that many at most."
            )
        device = torch.device("cuda", place)
        torch.cuda.set_device(device)
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return device


def package_versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def describe_hardware(device: torch.device) -> dict[str, str | int | float]:
    facts: dict[str, str | int | float] = {
        "cpu": _cpu_name(),
        "cpu_cores": os.cpu_count() or 0,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {"gpu": properties.name, "gpu_memory_gb": round(properties.total_memory / 1e9, 1)}
    return facts


def memory_now() -> int:
    """Bytes that this process holds now, where the system says so; else the most it has held."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return int(memory_mb(torch.device("cpu")) * 1e6)


def memory_mb(device: torch.device) -> float:
    """Most memory held so far: of the GPU where one computes, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    # Where the kernel tells it: getrusage also counts what the process that started this one held at that moment.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - read until the first match
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
