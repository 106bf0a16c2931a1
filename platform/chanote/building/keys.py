"""Keys of endpoints: one file each below the installation's home, readable by its own user only."""

import os
import re
from pathlib import Path

from django.conf import settings

from chanote.building.models import TeacherEndpoint

KEY = re.compile(r"[\x21-\x7e]{1,2000}\Z")


def key_file(endpoint: TeacherEndpoint) -> Path:
    return Path(settings.HOME) / "endpoints" / f"{endpoint.pk}.key"


def write_key(endpoint: TeacherEndpoint, key: str) -> None:
    """Replace the key; an empty one removes it."""
    path = key_file(endpoint)
    if not key:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key)
    partial.replace(path)


def read_key(endpoint: TeacherEndpoint) -> str:
    """Empty where it has none. Raises OSError where its file is gone."""
    return key_file(endpoint).read_text().strip() if endpoint.has_key else ""
