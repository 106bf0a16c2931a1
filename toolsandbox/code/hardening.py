"""How a container is made: every flag of the hardening in one place, and the check of a container that runs."""

import hashlib
import json
import time
from typing import Any

from toolsandbox.code.programs import write_command
from toolsandbox.code.seccomp import build_profile
from toolsandbox.code.settings import CodeSettings

LABEL = "chanote.sandbox"
OWNER_LABEL = "chanote.sandbox.owner"
EXPIRY_LABEL = "chanote.sandbox.expiry"
"""Seconds of the wall clock. The container itself outlives a service that was killed; this label ends it."""

BATCH_LABEL = "chanote.sandbox.batches"
"""On the containers of batches, which are larger: they hold several calls."""
FORK_SERVER_BYTES = 96 << 20
FORK_SERVER_PROCESSES = 2

USERS = range(30_000, 60_000)
"""Containers get a user each, from here. The kernel counts inotify queues, waiting signals and pages of pipes per user
and over the whole host: with one user for all, one program takes them from every other."""
ENVIRONMENT = [
    "PATH=/usr/local/bin:/usr/bin:/bin",
    "HOME=/tmp",
    "LANG=C.UTF-8",
    # Sets and dictionaries of strings come out in the same order in every call: the same program, the same output.
    "PYTHONHASHSEED=0",
    "PYTHONDONTWRITEBYTECODE=1",
    "OPENBLAS_NUM_THREADS=1",
    "OMP_NUM_THREADS=1",
]


def size_container(settings: CodeSettings, *, for_batches: bool) -> tuple[int, int]:
    """Bytes of memory and number of processes. A batch's calls cannot use up together what one of them may have."""
    if not for_batches:
        return settings.memory_bytes, settings.processes
    # Of each call's processes two prepare it.
    return (
        FORK_SERVER_BYTES + settings.batch_workers * settings.memory_bytes,
        FORK_SERVER_PROCESSES + settings.batch_workers * (2 + settings.batch_processes),
    )


def build_spec(
    settings: CodeSettings,
    *,
    image: str,
    program: list[str],
    life_s: float,
    user: int = USERS.start,
    for_batches: bool = False,
) -> dict[str, Any]:
    """Body of the engine's create call. Nothing in it comes from a request."""
    profile = json.dumps(build_profile(for_batches=for_batches))
    security = ["no-new-privileges:true", f"seccomp={profile}"]
    if for_batches:
        # A child mounts its own temporary folder in its own namespace, which the engine's default profile refuses.
        security.append("apparmor=unconfined")
    memory_bytes, processes = size_container(settings, for_batches=for_batches)
    temporary = f"rw,nosuid,nodev,noexec,size={settings.disk_bytes},nr_inodes={settings.disk_files},mode=1777"
    return {
        "Image": image,
        "Cmd": program,
        "Entrypoint": [],
        "User": f"{user}:{user}",
        "WorkingDir": "/tmp",  # noqa: S108
        "Env": ENVIRONMENT,
        "Hostname": "sandbox",
        "NetworkDisabled": True,
        "Labels": {
            LABEL: "1",
            OWNER_LABEL: settings.owner,
            EXPIRY_LABEL: str(int(time.time() + life_s)),
            **({BATCH_LABEL: "1"} if for_batches else {}),
        },
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "OpenStdin": True,
        # The program's input ends with the service's connection, and the program with its input.
        "StdinOnce": True,
        "Tty": False,
        "StopTimeout": 0,
        "HostConfig": {
            "Runtime": settings.runtime,
            "NetworkMode": "none",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": security,
            "PidsLimit": processes,
            "Memory": memory_bytes,
            "MemorySwap": memory_bytes,
            "NanoCpus": int(settings.cpus * 1e9),
            "Ulimits": [
                {"Name": "core", "Soft": 0, "Hard": 0},
                {"Name": "nofile", "Soft": settings.open_files, "Hard": settings.open_files},
                {"Name": "memlock", "Soft": 65536, "Hard": 65536},
                {"Name": "msgqueue", "Soft": 0, "Hard": 0},
                {"Name": "sigpending", "Soft": 1024, "Hard": 1024},
            ],
            "Tmpfs": {"/tmp": temporary},  # noqa: S108
            "IpcMode": "none",
            "CgroupnsMode": "private",
            "LogConfig": {"Type": "none", "Config": {}},
            "RestartPolicy": {"Name": "no"},
            # Removed by the service, which first reads how it ended.
            "AutoRemove": False,
            "Init": False,
            "Privileged": False,
            "PublishAllPorts": False,
        },
    }


def digest_policy(settings: CodeSettings) -> str:
    """Identity of everything that decides what a program may do; frozen into a run beside the image's."""
    specs = []
    for name, for_batches in (("agent", False), ("batch", True)):
        spec = build_spec(settings, image="", program=write_command(name), life_s=0, for_batches=for_batches)
        specs.append({**spec, "Labels": {}})
    text = json.dumps([*specs, settings.batch_processes], sort_keys=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def find_softness(inspected: dict[str, Any], settings: CodeSettings) -> list[str]:
    """What a running container lacks of the hardening, read from the engine and not from our request."""
    host, config = inspected["HostConfig"], inspected["Config"]
    security = host.get("SecurityOpt") or []
    memory_bytes, processes = size_container(settings, for_batches=BATCH_LABEL in config["Labels"])
    expected = {
        "runs as a user of its own": config["User"] in {f"{user}:{user}" for user in USERS},
        "has no network": host["NetworkMode"] == "none" and not _networks(inspected) - {"none"},
        "has a read-only root": host["ReadonlyRootfs"] is True,
        "has no capabilities": host["CapDrop"] == ["ALL"] and not host["CapAdd"],
        "gains no privileges": any(option.startswith("no-new-privileges") for option in security),
        "has a seccomp profile": any(
            option.startswith("seccomp={") and "SCMP_ACT_ERRNO" in option for option in security
        ),
        "is not privileged": host["Privileged"] is False,
        "has a process limit": host["PidsLimit"] == processes,
        "has a memory limit": host["Memory"] == memory_bytes,
        "has no swap": host["MemorySwap"] == memory_bytes,
        "has a CPU limit": host["NanoCpus"] == int(settings.cpus * 1e9),
        "has no log": host["LogConfig"]["Type"] == "none",
        "has no bind": not host["Binds"] and not host.get("Mounts"),
        "has no devices": not host.get("Devices"),
        "shares no processes": host["PidMode"] == "" and host["IpcMode"] == "none" and not host["UTSMode"],
        "has its own cgroups": host.get("CgroupnsMode") == "private",
        "has a limit on files": "nr_inodes=" in (host["Tmpfs"] or {}).get("/tmp", ""),  # noqa: S108
        "has an expiry": EXPIRY_LABEL in config["Labels"],
        "runs under the wanted runtime": host["Runtime"] == settings.runtime,
    }
    return [name for name, holds in expected.items() if not holds]


def _networks(inspected: dict[str, Any]) -> set[str]:
    return set((inspected.get("NetworkSettings") or {}).get("Networks") or {})
