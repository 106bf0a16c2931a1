"""Versions of datasets for tests of the checks, and checks run in this process."""

import io
import json

from chanote.checks.running import run_checks
from chanote.datasets.services import import_dataset


def take(project, slug, rows, kind="text", **given):
    content = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    given = {"actor": None, **given}
    return import_dataset(project=project, slug=slug, kind=kind, file=io.BytesIO(content), format="jsonl", **given)


def check(version, name, tmp_path, **given):
    """The result of one check."""
    (result,) = run_checks(version, [name], actor=None, scratch=tmp_path / "scratch", **given)
    return result
