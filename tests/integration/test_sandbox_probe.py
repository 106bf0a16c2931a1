"""A sandbox that was made soft on purpose, in one way at a time: the service finds it out and does not serve."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox_engine import IMAGE, SOCKET, list_left, open_workshop, why_no_engine
from toolsandbox.code.container import Container
from toolsandbox.code.probe import ProbeFailed, require_hardness
from toolsandbox.code.seccomp import build_profile

pytestmark = pytest.mark.docker

REPOSITORY = Path(__file__).resolve().parents[2]


def allow_sockets(spec: dict[str, Any]) -> None:
    profile = build_profile()
    profile["syscalls"].append({"names": ["socket"], "action": "SCMP_ACT_ALLOW"})
    spec["HostConfig"]["SecurityOpt"] = ["no-new-privileges:true", f"seccomp={json.dumps(profile)}"]


def allow_queues(spec: dict[str, Any]) -> None:
    profile = build_profile()
    profile["syscalls"].append({"names": ["io_uring_setup"], "action": "SCMP_ACT_ALLOW"})
    spec["HostConfig"]["SecurityOpt"] = ["no-new-privileges:true", f"seccomp={json.dumps(profile)}"]


def allow_no_thread(spec: dict[str, Any]) -> None:
    """`clone3` refused by the wrong errno, from which the C library does not fall back."""
    profile = build_profile()
    for rule in profile["syscalls"]:
        if rule["names"] == ["clone3"]:
            rule["errnoRet"] = 1
    spec["HostConfig"]["SecurityOpt"] = ["no-new-privileges:true", f"seccomp={json.dumps(profile)}"]


def set_host(**changed: Any) -> Callable[[dict[str, Any]], None]:
    return lambda spec: spec["HostConfig"].update(changed)


SOFT: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "sockets": (allow_sockets, "vsock|netlink|public network"),
    "io_uring": (allow_queues, "create an io_uring queue: REACHED"),
    "threads": (allow_no_thread, "start a thread"),
    "root that can be written": (set_host(ReadonlyRootfs=False), "has a read-only root"),
    "capabilities": (set_host(CapDrop=[], CapAdd=["SYS_PTRACE"]), "has no capabilities"),
    "engine's socket": (set_host(Binds=[f"{SOCKET}:/var/run/docker.sock"]), "has no bind.*find the engine's socket"),
    "the host's processes": (set_host(PidMode="host"), "shares no processes.*see other processes"),
    "one user for all": (lambda spec: spec.update(User="65534:65534"), "runs as a user of its own.*share a user"),
    "root inside": (lambda spec: spec.update(User="0:0"), "runs as a user of its own"),
    "no limit on processes": (set_host(PidsLimit=0), "has a process limit"),
}


@pytest.mark.parametrize("softness", SOFT)
async def test_each_softness_is_found_out(monkeypatch, softness):
    soften, said = SOFT[softness]
    hard_start = Container.start

    async def start_soft(engine: Any, spec: dict[str, Any]) -> Container:
        soften(spec)
        return await hard_start(engine, spec)

    monkeypatch.setattr(Container, "start", start_soft)
    async with open_workshop("soft", warm=1) as soft:
        with pytest.raises(ProbeFailed, match=f"(?s)does not hold.*({said})"):
            await require_hardness(soft)
    assert await list_left("soft") == []


SOFT_SERVICE = """
import sys
from toolsandbox.code import workshop
from toolsandbox.__main__ import main

build_spec = workshop.build_spec

def soften(*given, **how):
    spec = build_spec(*given, **how)
    spec["HostConfig"]["SecurityOpt"] = ["no-new-privileges:true"]
    return spec

workshop.build_spec = soften
sys.exit(main(["serve", "--port", "0", "--code-settings-file", sys.argv[1]]))
"""


def test_a_service_with_a_soft_sandbox_does_not_serve(tmp_path):
    if reason := why_no_engine():
        pytest.skip(reason)
    settings = tmp_path / "code.toml"
    settings.write_text(f'socket = "{SOCKET}"\nimage = "{IMAGE}"\nowner = "test-soft-service"\nwarm = 1\n')
    ended = subprocess.run(
        [sys.executable, "-c", SOFT_SERVICE, str(settings)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert ended.returncode == 2, ended.stderr[-2000:]
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("toolsandbox: the sandbox does not hold, so the code tools do not serve: ")
    assert "open a netlink socket: REACHED" in last
    assert '"event": "serving"' not in ended.stderr


async def test_nothing_is_left_of_a_service_that_refused():
    assert await list_left("soft-service") == []
