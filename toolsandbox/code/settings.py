"""Limits of the code tools. Every number has a unit; zero never means `no limit`."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class CallLimits(BaseModel):
    """Limits of one call."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wall_s: float = Field(default=10.0, gt=0, le=600, allow_inf_nan=False)
    cpu_s: float = Field(default=10.0, gt=0, le=600, allow_inf_nan=False)
    """CPU time of all processes of the call. Apart from the wall limit, so that a busy neighbour costs no reward."""
    output_bytes: int = Field(default=1 << 20, ge=1, le=64 << 20)
    """Of standard output and standard error together. Passing it kills."""
    value_bytes: int = Field(default=1 << 20, ge=1, le=16 << 20)


class CodeSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    socket: Path = Path("/var/run/docker.sock")
    image: str = "chanote-sandbox:latest"
    """Name, or `sha256:` identity. The service resolves it once and uses the identity from then on."""
    image_digest: str | None = None
    """Digest of the contents that the image must have; another one is refused."""
    runtime: str = "runc"
    """As the engine names it: `runc`, or `runsc` for gVisor."""
    owner: str = Field(default="chanote", pattern=r"^[a-z0-9][a-z0-9._-]{0,40}$")
    """Containers carry it; at start the service removes what an earlier one with this owner left. One per service."""
    warm: int = Field(default=4, ge=1, le=512)
    """Containers that wait with a started interpreter."""
    most_containers: int = Field(default=64, ge=1, le=2048)
    starters: int = Field(default=2, ge=1, le=16)
    """Containers being started at the same time; starting costs 150 to 180 ms of CPU each."""
    most_waiting: int = Field(default=512, ge=0)
    longest_wait_s: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    memory_bytes: int = Field(default=256 << 20, ge=32 << 20)
    """Of one container, and of one function of a batch: its container has room for as many as run at once."""
    processes: int = Field(default=64, ge=4)
    cpus: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    disk_bytes: int = Field(default=64 << 20, ge=1 << 20)
    disk_files: int = Field(default=4096, ge=16)
    open_files: int = Field(default=256, ge=32)
    session_idle_s: float = Field(default=300.0, gt=0, allow_inf_nan=False)
    session_life_s: float = Field(default=3600.0, gt=0, allow_inf_nan=False)
    most_sessions_each: int | None = Field(default=None, ge=1)
    """Open sessions of one tenant, each of which holds a container; seven eighths of `most_containers` if not given,
    so that the others' calls always find some."""
    warm_batches: int = Field(default=1, ge=1, le=64)
    most_batches: int = Field(default=4, ge=1, le=256)
    batch_workers: int = Field(default=2, ge=1, le=64)
    """Functions of a batch that run at the same time."""
    batch_processes: int = Field(default=8, ge=1, le=1024)
    """Processes and threads that one function may have, where it has a cgroup of its own; else one."""
    most_batch_s: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    """Of the calls of one batch of verifiers together; those that come after it are timeouts."""
    limits: CallLimits = CallLimits()
    most_wall_s: float = Field(default=60.0, gt=0, le=600, allow_inf_nan=False)
    """A request may ask for less or more than the default, up to this."""
    most_program_bytes: int = Field(default=1 << 20, ge=1 << 10)
    most_stdin_bytes: int = Field(default=16 << 20, ge=1 << 10)
    allow_failed_probe: bool = False
    """Serve although an attack of the start-up probe succeeded. Said in the log at every start."""

    def find_most_sessions_each(self) -> int:
        return self.most_sessions_each or max(1, self.most_containers * 7 // 8)
