"""Uploaded files that wait for their columns to be named: kept by the platform between the two steps of an import."""

import json
import re
import secrets
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from chanote.accounts.models import Project
from chanote.datasets.errors import refuse
from chanote.datasets.storage import check_space

KEPT_SECONDS = 24 * 3600
TOKEN = re.compile(r"[0-9a-f]{32}\Z")


@dataclass(frozen=True)
class StagedUpload:
    token: str
    name: str
    format: str
    bytes: int
    user: int
    project: int

    @property
    def path(self) -> Path:
        return staging_folder() / self.token / "rows"


def staging_folder() -> Path:
    return Path(settings.HOME) / "staged-imports"


def stage_upload(project: Project, user: Any, file: UploadedFile, format: str) -> StagedUpload:
    """Keep the file for a day. Raises ImportRefused when it is empty or there is no room."""
    sweep_staged()
    if not file.size:
        raise refuse("file", "The file is empty; choose a file with rows.")
    check_space()
    if shutil.disk_usage(settings.HOME).free - file.size < settings.MINIMUM_FREE_BYTES:
        raise refuse("file", f"The disk of the platform has no room for {file.size // 10**6:,} MB more.")
    staged = StagedUpload(
        token=secrets.token_hex(16),
        name=Path(file.name or "rows").name[:120],
        format=format,
        bytes=file.size,
        user=user.pk,
        project=project.pk,
    )
    staged.path.parent.mkdir(parents=True, mode=0o700)
    with staged.path.open("xb") as target:
        for chunk in file.chunks(1 << 20):
            target.write(chunk)
    # Written last: a folder without it is an upload that broke off.
    (staged.path.parent / "about.json").write_text(json.dumps(asdict(staged)))
    return staged


def find_staged(project: Project, user: Any, token: str) -> StagedUpload | None:
    """The upload if this person made it in this project and it is still kept."""
    if not TOKEN.match(token):
        return None
    try:
        about = json.loads((staging_folder() / token / "about.json").read_text())
    except (OSError, ValueError):
        return None
    staged = StagedUpload(**about)
    return staged if (staged.user, staged.project) == (user.pk, project.pk) else None


def remove_staged(staged: StagedUpload) -> None:
    shutil.rmtree(staged.path.parent, ignore_errors=True)


def sweep_staged() -> None:
    """Remove what was staged more than a day ago."""
    if not staging_folder().is_dir():
        return
    oldest = time.time() - KEPT_SECONDS
    for folder in staging_folder().iterdir():
        if TOKEN.match(folder.name) and folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)
