"""The tool service that `chanote up` and `chanote demo` run beside the other programs of one machine."""

import importlib.util
import json
import os
import secrets
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from chanote.accounts.models import Project
from chanote.datasets.models import DatasetVersion
from chanote.datasets.selectors import find_version
from chanote.tools.client import ServiceFailed, ask
from chanote.tools.corpora import CorpusRefused, write_corpus
from chanote.tools.endpoints import Endpoint, address_file, tools_home
from chanote.tools.health import ask_health

NEEDED = ("starlette", "uvicorn", "mcp", "pythainlp", "numpy")
"""What the service imports beside the platform's own packages."""
HOST = "127.0.0.1"


class ServiceRefused(ValueError):
    """No tool service can be started as the settings say; one sentence with the way out."""


@dataclass(frozen=True)
class Service:
    """How the service is started and where it will be."""

    endpoint: Endpoint
    command: list[str]

    @property
    def without_code(self) -> list[str]:
        """The same without code tools, for a machine whose containers do not hold what the service asks of them."""
        return [*self.command, "--no-code"]


def prepare_service(corpus: DatasetVersion | Path, *, language: str = "") -> Service:
    """Write corpus and token file, choose a port, and tell where the service will be. Raises ServiceRefused."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ServiceRefused(
            f"The tool service needs {', '.join(missing)}; install it with: pip install 'chanote[sandbox]'."
        )
    try:
        path = corpus if isinstance(corpus, Path) else write_corpus(corpus)
        token_file = _keep_token()
        port = find_port()
    except CorpusRefused as refused:
        raise ServiceRefused(f"The tool service has no corpus: {refused.problem.message}") from refused
    except OSError as error:
        raise ServiceRefused(f"{tools_home()} cannot be written ({error.strerror}).") from error
    endpoint = Endpoint(f"http://{HOST}:{port}", token_file)
    command = [sys.executable, "-P", "-m", "toolsandbox", "serve", "--host", HOST, "--port", str(port)]
    command += ["--corpus", str(path), "--index-folder", str(tools_home() / "indexes"), "--token-file", str(token_file)]
    if language:
        command += ["--language", language]
    if settings.SANDBOX_CODE_SETTINGS:
        command += ["--code-settings-file", settings.SANDBOX_CODE_SETTINGS]
    announce(endpoint)
    return Service(endpoint, command)


def read_corpus_setting(text: str) -> DatasetVersion | Path:
    """What CHANOTE_SANDBOX_CORPUS names: a file, or PROJECT/DATASET@VERSION. Raises ServiceRefused."""
    path = Path(text).expanduser()
    if path.is_file():
        return path.resolve()
    slug, _, reference = text.partition("/")
    try:
        return find_version(Project.objects.get(slug=slug), reference)
    except (Project.DoesNotExist, DatasetVersion.DoesNotExist):
        raise ServiceRefused(
            f"CHANOTE_SANDBOX_CORPUS={text} is neither a file nor a dataset version; write a path, or "
            "PROJECT/DATASET@VERSION."
        ) from None


def find_port() -> int:
    """The wanted port, or any free one where another program has it."""
    for wanted in (settings.SANDBOX_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, wanted))
            except (OSError, OverflowError):
                continue
            return int(probe.getsockname()[1])
    raise ServiceRefused("No port is free for the tool service.")


def announce(endpoint: Endpoint) -> None:
    """Tell every process of this installation where the service is, until `withdraw`."""
    path = address_file()
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps({"address": endpoint.address, "token_file": str(endpoint.token_file)}))
    temporary.replace(path)


def withdraw() -> None:
    address_file().unlink(missing_ok=True)


def _keep_token() -> Path:
    """A token made once, readable by its owner only: other users of the machine may not run code here."""
    path = tools_home() / "token"
    tools_home().mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.is_file():
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.touch(mode=0o600)
        temporary.write_text(f"chanote:{secrets.token_urlsafe(32)}\n")
        temporary.replace(path)
    return path


def wait_until_ready(endpoint: Endpoint, stop: threading.Event, *, patience_s: float = 120) -> str:
    """One sentence on how the service is, once it answers; empty when told to stop before."""
    deadline = time.monotonic() + patience_s
    while not stop.is_set() and time.monotonic() < deadline:
        try:
            ask(endpoint, "/livez", seconds=2)
        except ServiceFailed:
            stop.wait(0.3)
            continue
        health = ask_health(endpoint, seconds=10)
        return f"The tool service is at {endpoint.address}. {health.sentence}"
    return "" if stop.is_set() else f"The tool service at {endpoint.address} does not answer; its log says why."
