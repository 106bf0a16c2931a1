"""Checkpoint directories: complete or absent, and checked against their manifest before anything trusts them.

    step-000123/model/         what plain transformers loads
    step-000123/state/         optimiser, data position, generators
    step-000123/manifest.json  hash and size of every file

Written under `step-000123.partial`, synced to the disk, then renamed: only the rename makes a checkpoint exist.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.contract.hashing import hash_directory, hash_file, list_files
from trainer.failures import InvalidSpec, RunFailed

__all__ = ["Checkpoint", "hash_directory", "open_checkpoint", "remove_checkpoint", "sweep_partial", "write_checkpoint"]

FORMAT = 1
PARTIAL = ".partial"
REPLACED = ".replaced.partial"


@dataclass(frozen=True)
class Checkpoint:
    path: Path
    step: int
    stage_finished: bool
    model_sha256: str
    bytes: int


def checkpoint_name(step: int) -> str:
    return f"step-{step:06d}"


def write_checkpoint(
    parent: Path,
    *,
    step: int,
    stage_finished: bool,
    write_model: Callable[[Path], None],
    write_state: Callable[[Path], None],
) -> Checkpoint:
    """Raises RunFailed and leaves nothing behind when the disk does not take it all."""
    final = parent / checkpoint_name(step)
    partial = final.with_name(final.name + PARTIAL)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        for part, write in (("model", write_model), ("state", write_state)):
            (partial / part).mkdir(parents=True)
            write(partial / part)
        checkpoint = _seal(partial, final, step=step, stage_finished=stage_finished)
        if final.exists():  # an attempt that crashed was started again in its own directory
            remove_checkpoint(final, ending=REPLACED)
        partial.rename(final)
        _sync(parent)
    except Exception as error:  # a full disk shows as OSError, SafetensorError or RuntimeError, by who was writing
        shutil.rmtree(partial, ignore_errors=True)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RunFailed(
            f"the checkpoint of step {step} could not be written ({reason}); free space below {parent} and resume."
        ) from error
    return checkpoint


def open_checkpoint(path: Path, *, field: str = "resume_from") -> dict[str, Any]:
    """Check every file against the manifest and return the manifest; raises InvalidSpec at the first difference."""
    try:
        manifest: dict[str, Any] = json.loads((path / "manifest.json").read_bytes())
        files: dict[str, dict[str, Any]] = manifest["files"]
        known = manifest["format"]
    except OSError as error:
        raise InvalidSpec(f"{field}: {path} is no checkpoint, its manifest.json cannot be read.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidSpec(f"{field}: {path} is damaged, its manifest.json is no manifest; use another one.") from error
    if known != FORMAT:
        raise InvalidSpec(f"{field}: {path} has format {known}, this trainer reads format {FORMAT}.")
    for name, facts in files.items():
        try:
            intact = hash_file(path / name) == facts["sha256"]
        except OSError:
            intact = False
        if not intact:
            raise InvalidSpec(f"{field}: {path} is damaged, {name} is not what was written; use an older checkpoint.")
    return manifest


def remove_checkpoint(path: Path, *, ending: str = PARTIAL) -> None:
    """Delete a checkpoint so that it never stands there half deleted."""
    going = path.with_name(path.name + ending)
    path.rename(going)
    shutil.rmtree(going)


def sweep_partial(parent: Path) -> None:
    """Delete what a killed process left half written."""
    for path in parent.glob(f"*{PARTIAL}"):
        shutil.rmtree(path)


def _seal(partial: Path, final: Path, *, step: int, stage_finished: bool) -> Checkpoint:
    """Hash and sync every file, then write the manifest."""
    files = {
        name: {"sha256": hash_file(partial / name), "bytes": (partial / name).stat().st_size}
        for name in list_files(partial)
    }
    size = sum((partial / name).stat().st_size for name in files)
    model_sha256 = hash_directory(partial / "model")
    manifest = {
        "format": FORMAT,
        "step": step,
        "stage_finished": stage_finished,
        "model_sha256": model_sha256,
        "files": files,
    }
    (partial / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
    for path in [partial, *partial.rglob("*")]:
        _sync(path)
    return Checkpoint(
        path=final,
        step=step,
        stage_finished=stage_finished,
        model_sha256=model_sha256,
        bytes=size,
    )


def _sync(path: Path) -> None:
    """Make the content of a file, or the entries of a directory, survive a power cut."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
