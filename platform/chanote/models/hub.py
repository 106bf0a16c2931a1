"""Models that Hugging Face tools have already fetched to this machine. Nothing is downloaded here."""

import os
import re
from pathlib import Path

from chanote.models.errors import ModelRefused

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*\Z")
COMMIT = re.compile(r"[0-9a-f]{40}\Z")


def find_cache() -> Path:
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(home).expanduser() / "hub"


def find_snapshot(name: str, revision: str = "main") -> Path:
    """Directory of a hub model in the cache, at the commit that lies there. Raises ModelRefused with the way out."""
    if not NAME.match(name):
        raise ModelRefused("hub_name", f"{name[:80]!r} is no hub name; write owner/model, such as Qwen/Qwen3-0.6B.")
    if not re.match(r"[\w.-]+\Z", revision) or revision.startswith("."):
        raise ModelRefused("revision", "A revision is a branch, a tag or a commit of the model.")
    folder = find_cache() / f"models--{name.replace('/', '--')}"
    commit = revision
    if not COMMIT.match(revision):
        try:
            commit = (folder / "refs" / revision).read_text().strip()
        except OSError:
            commit = ""
    snapshot = folder / "snapshots" / commit
    if not COMMIT.match(commit) or not snapshot.is_dir():
        raise ModelRefused(
            "hub_name",
            f"{name} at {revision} is not in the cache of this machine ({find_cache()}), and the platform downloads "
            f"nothing. Fetch it with `hf download {name}` as the user who runs the platform, or copy a directory "
            "from a machine that can, and register that.",
        )
    return snapshot
