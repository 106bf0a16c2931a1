"""A container engine that belongs to one test run: its own data, socket and cgroups, all gone afterwards."""

import ctypes
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
BUILD_FILES = sorted((REPOSITORY / "docker").glob("*sandbox*"))
IMAGES = REPOSITORY / "build/sandbox-image"
"""Packed roots, one per state of the build files: the first test run builds it, the next ones only import it."""

PREFIX = "ct-"
"""Of the folder's name; the process that owns it follows. Short: the path of a socket has at most 107 bytes."""

PR_SET_PDEATHSIG = 1


class NoEngine(Exception):
    """There can be no engine here; the message says why and what to do."""


def folder_of(owner: int) -> Path:
    return Path(tempfile.gettempdir()) / f"{PREFIX}{owner}"


class PrivateEngine:
    """A daemon in one folder. `start` after `stop_daemon` finds its containers and images again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "e.sock"
        self._daemon: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._daemon is not None and self._daemon.poll() is None

    def start(self) -> None:
        """Start the daemon and wait until it answers. Raises `NoEngine`."""
        if os.geteuid() != 0:
            raise NoEngine("a container engine needs root; run as root, or name one by SANDBOX_ENGINE_SOCKET")
        if shutil.which("dockerd") is None:
            raise NoEngine("dockerd is not installed; on Debian: apt-get install docker.io")
        self.folder.mkdir(mode=0o700, exist_ok=True)
        settings, log = self.folder / "settings.json", self.folder / "log"
        settings.write_text("{}")
        words = {
            "config-file": settings,
            "data-root": self.folder / "data",
            "exec-root": self.folder / "x",
            "pidfile": self.folder / "pid",
            "host": f"unix://{self.socket}",
            "cgroup-parent": f"/{self.folder.name}",
            "bridge": "none",
            "iptables": "false",
            "ip6tables": "false",
        }
        with log.open("ab") as said:
            self._daemon = subprocess.Popen(
                ["dockerd", *(f"--{name}={value}" for name, value in words.items())],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                # Its own session, so that Ctrl-C reaches the tests first, which then end their containers in order.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        began = time.monotonic()
        while not self._answers():
            if not self.is_running or time.monotonic() - began > 120:
                last = log.read_text(errors="replace").strip().splitlines()[-1:]
                self.remove()
                raise NoEngine(f"dockerd did not start: {' '.join(last)[-300:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        return self.is_running and self.run_docker("version", check=False).returncode == 0

    def run_docker(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "DOCKER_HOST": f"unix://{self.socket}"}
        command = ["docker", *words]
        return subprocess.run(command, env=environment, check=check, capture_output=True, text=True, timeout=300)

    def load_image(self, name: str) -> None:
        """Bring the sandbox's image: the packed root of an earlier run, or a new one. Raises `NoEngine`."""
        packed = IMAGES / f"{hash_build_files()}.tar"
        if packed.exists():
            self.run_docker("import", str(packed), name)
            return
        IMAGES.mkdir(parents=True, exist_ok=True)
        partial = IMAGES / f"{os.getpid()}.partial"
        environment = {**os.environ, "DOCKER_HOST": f"unix://{self.socket}", "KEEP": str(partial)}
        command = [str(REPOSITORY / "docker/build-sandbox-image"), name]
        try:
            built = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
            if built.returncode:
                raise NoEngine(f"docker/build-sandbox-image failed: {built.stderr.strip()[-500:]}")
            for old in IMAGES.glob("*.tar"):
                old.unlink()
            partial.replace(packed)
        finally:
            partial.unlink(missing_ok=True)

    def stop_daemon(self) -> None:
        """Stop the daemon and what it started; its data stay."""
        if self._daemon is None:
            return
        self._daemon.terminate()
        try:
            self._daemon.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._daemon.kill()
            self._daemon.wait()
        self._daemon = None
        self.end_processes()

    def list_processes(self) -> list[int]:
        """Processes whose command names this folder: the daemon, its containerd, and one shim per container."""
        mark, found = f"{self.folder}/".encode(), []
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if mark in command.read_bytes():
                    found.append(int(command.parent.name))
        return [pid for pid in found if pid != os.getpid()]

    def end_processes(self) -> None:
        began = time.monotonic()
        while (left := self.list_processes()) and time.monotonic() - began < 30:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def list_mounts(self) -> list[str]:
        """Mount points below the folder, the inner ones first."""
        points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        return sorted((point for point in points if point.startswith(f"{self.folder}/")), reverse=True)

    def list_cgroups(self) -> list[Path]:
        """Cgroups of the engine's containers, the inner ones first."""
        tops = [*Path("/sys/fs/cgroup").glob(f"*/{self.folder.name}"), Path("/sys/fs/cgroup") / self.folder.name]
        found = [each for top in tops if top.is_dir() for each in (top, *top.rglob("*/"))]
        return sorted(found, reverse=True)

    def list_left(self) -> list[str]:
        """Everything that is still there of this engine."""
        folder = [str(self.folder)] if self.folder.exists() else []
        return [*map(str, self.list_processes()), *self.list_mounts(), *map(str, self.list_cgroups()), *folder]

    def remove(self) -> None:
        """Stop the daemon and leave no process, mount, cgroup or file."""
        self.stop_daemon()
        self.end_processes()
        for point in self.list_mounts():
            subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)
        for cgroup in self.list_cgroups():
            with suppress(OSError):
                cgroup.rmdir()
        shutil.rmtree(self.folder, ignore_errors=True)


def remove_stale() -> None:
    """Remove engines of test runs that were killed before they could do it themselves."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}[0-9]*"):
        owner = folder.name.removeprefix(PREFIX).split("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            PrivateEngine(folder).remove()


def hash_build_files() -> str:
    content = hashlib.sha256()
    for file in BUILD_FILES:
        content.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return content.hexdigest()[:16]


def _die_with_parent() -> None:
    """A test run that is killed takes its daemon with it, and the daemon its containers."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
