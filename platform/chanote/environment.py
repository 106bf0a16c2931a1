"""Settings that come from the machine: environment variables named CHANOTE_*, read once at start."""

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from trainer.contract.addresses import is_address


class SettingError(Exception):
    """A CHANOTE_* variable that cannot be used. The message says which, why and what to write instead."""


def read_flag(name: str, *, default: bool) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if value in {"", None}:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise SettingError(f"{name}={value!r} is not understood; write 1 or 0")


def read_number(name: str, *, default: int, lowest: int = 0) -> int:
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    try:
        number = int(value)
    except ValueError:
        raise SettingError(f"{name}={value!r} is not a whole number") from None
    if number < lowest:
        raise SettingError(f"{name}={value} is below {lowest}")
    return number


def read_list(name: str, *, default: list[str]) -> list[str]:
    value = os.environ.get(name, "")
    return [part.strip() for part in value.split(",") if part.strip()] or default


def read_addresses(name: str) -> list[str]:
    """Addresses of services such as http://127.0.0.1:8930, separated by commas, without a slash at the end."""
    addresses = [one.rstrip("/") for one in read_list(name, default=[])]
    for address in addresses:
        if not is_address(address):
            raise SettingError(f"{name}={address!r} is no address like http://127.0.0.1:8930")
    return list(dict.fromkeys(addresses))


def find_home() -> Path:
    """Where this installation keeps its data: CHANOTE_HOME, else `var/` beside a checkout, else the user's data dir."""
    if chosen := os.environ.get("CHANOTE_HOME"):
        return Path(chosen).expanduser().resolve()
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "manage.py").is_file():
        return checkout / "var"
    data_home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(data_home) / "chanote"


def find_assets() -> Path:
    """Directory that holds `templates/` and `static/`: the checkout, or inside the installed package."""
    packaged = Path(__file__).resolve().parent / "_assets"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2]


def read_secret_key(home: Path) -> str:
    """CHANOTE_SECRET_KEY, else a key made once and kept in the home directory, readable by its owner only."""
    if given := os.environ.get("CHANOTE_SECRET_KEY"):
        return given
    path = home / "secret-key"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        home.mkdir(parents=True, exist_ok=True)
        key = secrets.token_urlsafe(64)
        temporary = home / f"secret-key.{os.getpid()}"
        temporary.touch(mode=0o600)
        temporary.write_text(key)
        try:
            # A hard link fails when the name exists, so that of two first starts exactly one key wins.
            os.link(temporary, path)
        except FileExistsError:
            return path.read_text().strip()
        finally:
            temporary.unlink()
        return key


def read_database(home: Path) -> dict[str, Any]:
    """Django's DATABASES entry from CHANOTE_DATABASE_URL; SQLite in the home directory when unset."""
    url = os.environ.get("CHANOTE_DATABASE_URL", "")
    if not url:
        url = f"sqlite:///{home / 'chanote.sqlite3'}"
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": unquote(parts.path.removeprefix("/") if parts.path.startswith("//") else parts.path),
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": (
                    "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA cache_size=-16000;"
                    "PRAGMA mmap_size=134217728;PRAGMA journal_size_limit=67108864;"
                ),
            },
        }
    if parts.scheme in {"postgres", "postgresql"}:
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path.lstrip("/")),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": unquote(parts.hostname or ""),
            "PORT": str(parts.port or ""),
            "CONN_MAX_AGE": 60,
            "CONN_HEALTH_CHECKS": True,
        }
    raise SettingError(
        f"CHANOTE_DATABASE_URL begins with {parts.scheme!r}; write sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
    )
