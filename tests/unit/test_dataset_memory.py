"""A large file is imported row by row: memory does not grow with the file."""

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import resource, sys
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from chanote.accounts.models import Project
from chanote.datasets.services import import_dataset
import numpy
if sys.argv[2] == "parquet":
    import pyarrow.parquet
project = Project.objects.create(slug="p", name="P")
def take(path):
    return import_dataset(project=project, slug="big", kind="text", file=path, format=sys.argv[2], actor=None)
take(sys.argv[3])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
version = take(sys.argv[1])
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(version.rows, version.bytes, (after - before) // 1024)
"""
"""Imports a small file first, so that what is measured is the rows and not the libraries."""

TEXT = "มาตรา ๑ กฎหมายนี้ให้เรียกว่า " * 24
REPOSITORY = Path(__file__).resolve().parents[2]


def measure(home: Path, path: Path, small: Path, format: str) -> tuple[int, int, int]:
    """Rows, bytes, and mebibytes by which the peak of memory grew."""
    environment = {**os.environ, "CHANOTE_HOME": str(home), "PYTHONPATH": os.pathsep.join(["platform", "."])}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), format, str(small)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows, size, grown = done.stdout.split()[-3:]
    return int(rows), int(size), int(grown)


def test_a_jsonl_file_of_100_mb_needs_little_memory(tmp_path):
    big, small = tmp_path / "big.jsonl", tmp_path / "small.jsonl"
    small.write_text(json.dumps({"text": TEXT}, ensure_ascii=False))
    with big.open("w", encoding="utf-8") as file:
        for number in range(50_000):
            file.write(json.dumps({"text": f"{number} {TEXT}", "id": number}, ensure_ascii=False) + "\n")
    assert big.stat().st_size > 97_000_000
    rows, size, grown = measure(tmp_path, big, small, "jsonl")
    assert rows == 50_000
    assert size > 97_000_000
    assert grown < 48


def test_a_parquet_file_with_one_row_group_is_read_in_parts(tmp_path):
    row_group = 50_000
    import pyarrow
    import pyarrow.parquet

    big, small = tmp_path / "big.parquet", tmp_path / "small.parquet"
    rows = {"text": [f"{number} {TEXT}" for number in range(row_group)]}
    pyarrow.parquet.write_table(
        pyarrow.table(rows), big, row_group_size=row_group, compression="none", use_dictionary=False
    )
    pyarrow.parquet.write_table(pyarrow.table({"text": [TEXT]}), small)
    count, size, grown = measure(tmp_path, big, small, "parquet")
    assert count == row_group
    assert size > 97_000_000
    assert grown < 64
