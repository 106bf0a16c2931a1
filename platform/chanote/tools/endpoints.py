"""Where tool services are: those of the settings, else the one that `chanote up` or `chanote demo` started here."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from trainer.contract.addresses import is_address
from trainer.contract.toolsets import KEY_VARIABLE


@dataclass(frozen=True)
class Endpoint:
    """A service and the token for it. Only addresses that the installation names ever get the token."""

    address: str
    token_file: Path | None = None

    def read_token(self) -> str:
        """The first token of the file; empty without a file. Raises OSError."""
        if self.token_file is None:
            return ""
        for line in self.token_file.read_text(encoding="utf-8").splitlines():
            entry = line.strip()
            if entry and not entry.startswith("#"):
                _, colon, token = entry.partition(":")
                return token if colon else entry
        return ""


def tools_home() -> Path:
    """Where the service that the platform starts has its corpus, indexes, token and address."""
    return Path(settings.HOME) / "tools"


def address_file() -> Path:
    return tools_home() / "service.json"


def list_endpoints() -> list[Endpoint]:
    """Every service that may be used, the default first; none where no service is set up."""
    if settings.SANDBOX_ADDRESSES:
        token_file = Path(settings.SANDBOX_TOKEN_FILE) if settings.SANDBOX_TOKEN_FILE else None
        return [Endpoint(address, token_file) for address in settings.SANDBOX_ADDRESSES]
    try:
        told = json.loads(address_file().read_text(encoding="utf-8"))
        return [Endpoint(str(told["address"]), Path(told["token_file"]))]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def find_endpoint(address: str = "") -> Endpoint | None:
    """The service at this address, the default when none is named; None where the installation knows no such."""
    endpoints = list_endpoints()
    if not address:
        return endpoints[0] if endpoints else None
    return next((one for one in endpoints if one.address == address), None)


def read_secrets(toolset: Any) -> dict[str, str]:
    """What a trainer needs beside its frozen toolset: the service's token. Empty where there is none to give: the
    trainer then says itself that the service did not take it.
    """
    endpoint = find_endpoint(str(toolset["address"])) if toolset else None
    try:
        token = endpoint.read_token() if endpoint else ""
    except OSError:
        token = ""
    return {KEY_VARIABLE: token} if token else {}


def check_address(address: str) -> str:
    """Why an address cannot be one of a service; empty when it can."""
    return "" if is_address(address) else f"{address} is no address like http://127.0.0.1:8930"
