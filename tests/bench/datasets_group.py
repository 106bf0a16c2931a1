"""A million rows: made, listed, filtered, compared. Wall and CPU milliseconds of one process, medians of several asks.

The rows are 300 bytes each, Thai and English, on the disk of the machine; the first ask of each kind is counted apart,
since it may read the file for the first time.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROWS = 1_000_000
REPEATS = 5

PROGRAM = r"""
import django, json, os, random, sys, time, resource
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0); call_command("createcachetable", verbosity=0)
from django.conf import settings
settings.ALLOWED_HOSTS = ["*"]
from django.test import Client
from chanote.accounts.models import User
from chanote.accounts.services import create_project, create_user
from chanote.curation.changes import apply_changes, find_change_set, find_exact_copies, record_change
from chanote.datasets.features import prepare_features
from chanote.datasets.models import DatasetVersion
from chanote.datasets.services import add_version
from chanote.datasets.storage import RowWriter
from chanote.datasets.canonical import encode_row

count, repeats = int(sys.argv[1]), int(sys.argv[2])
user, _ = create_user("bench", is_superuser=True)
User.objects.filter(pk=user.pk).update(must_change_password=False)
project = create_project(slug="bench", name="Bench", owner=user)
random.seed(7)
words = "ผู้เช่า ต้อง แจ้ง ผู้ให้เช่า โดยพลัน ถ้า ทรัพย์สิน ซึ่ง เช่า นั้น ชำรุด มาตรา กฎหมาย".split()
english = "the lessee shall notify lessor without delay where property let is in need of repair".split()
thai_texts = [" ".join(random.choices(words, k=16)) for _ in range(997)]
english_texts = [" ".join(random.choices(english, k=44)) for _ in range(499)]
with RowWriter() as writer:
    for number in range(count):
        text = english_texts[number % 499] if number % 10 == 0 else thai_texts[number % 997]
        row = {"text": f"{text} {number}", "section_num": str(number)}
        if number % 1000 == 0:
            row["curation"] = {"flags": ["odd"]}
        writer.write(encode_row(row))
    sha256 = writer.keep()
version = add_version(project=project, slug="big", kind="text", title="Big", description="", languages=["th"],
    actor=user, licence="CC0-1.0", uses=None, non_commercial=None, source="", reason="bench",
    content={"sha256": sha256, "rows": writer.rows, "bytes": writer.bytes,
             "statistics": {"characters": 0, "length": {"lowest": 0, "highest": 0, "median": 0, "p95": 0}},
             "operation": {"name": "import"}})
version = DatasetVersion.objects.select_related("dataset__project").get(pk=version.pk)
figures = {}

def clock(name, act):
    wall, cpu = time.perf_counter(), time.process_time()
    answer = act()
    figures[f"{name}_wall_s"] = time.perf_counter() - wall
    figures[f"{name}_cpu_s"] = time.process_time() - cpu
    return answer

clock("index", lambda: prepare_features(version))
client = Client()
client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
client.get("/p/bench/datasets/")
base = "/p/bench/datasets/big/"
asks = {
    "list": base + "?start=" + str(count // 2),
    "filter_text_rare": base + "?q=777777",
    "filter_text_none": base + "?q=nowhere-at-all",
    "filter_text_common": base + "?q=มาตรา",
    "filter_text_case": base + "?q=LESSEE",
    "filter_language": base + "?language=other",
    "filter_flag": base + "?flag=odd",
    "filter_length": base + "?shortest=100&longest=120",
    "filter_all": base + "?q=กฎหมาย&language=th&shortest=60&longest=140",
    "queue": base + "1/queue/?row=" + str(count // 2),
    "queue_filtered": base + "1/queue/?flag=odd",
}
for name, address in asks.items():
    walls, cpus = [], []
    for _ in range(repeats + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        answer = client.get(address)
        assert answer.status_code == 200, (address, answer.status_code)
        assert b"is being made" not in answer.content
        walls.append(1000 * (time.perf_counter() - wall)); cpus.append(1000 * (time.process_time() - cpu))
    figures[f"{name}_first_ms"] = walls[0]
    figures[f"{name}_ms"], figures[f"{name}_cpu_ms"] = sorted(walls[1:])[repeats // 2], sorted(cpus[1:])[repeats // 2]
copies = clock("find_copies", lambda: find_exact_copies(version, []))
record_change(version, {"op": "reject", "rows": [[5, 104], [count - 999, count - 900]]}, actor=user)
record_change(version, {"op": "edit", "row": count // 2, "content": {"text": "edited"}}, actor=user)
record_change(version, {"op": "flag", "rows": [[1000, count // 2 - 1000]], "flag": "half"}, actor=user)
made = clock("apply", lambda: apply_changes(find_change_set(version, user), reason="bench", actor=user))
clock("index_second", lambda: prepare_features(made))
clock("diff", lambda: client.get(f"{base}?tab=diff&version=2&against=1"))
clock("diff_again", lambda: client.get(f"{base}?tab=diff&version=2&against=1&kind=removed"))
figures["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
figures["table_mb"] = prepare_features(version).stat().st_size / 1e6
figures["rows_mb"] = version.bytes / 1e6
print(json.dumps(figures))
"""


def measure() -> dict[str, float]:
    root = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory(prefix="chanote-bench-") as home:
        environment = {
            **os.environ,
            "CHANOTE_HOME": home,
            "CHANOTE_MINIMUM_FREE_MB": "0",
            "CHANOTE_LOG_LEVEL": "ERROR",
            "DJANGO_SETTINGS_MODULE": "chanote.settings",
            "PYTHONPATH": f"{root / 'platform'}{os.pathsep}{root}",
        }
        rows = os.environ.get("BENCH_ROWS", str(ROWS))
        command = [sys.executable, "-c", PROGRAM, rows, str(REPEATS)]
        done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-3000:])
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    slowest = max(value for name, value in figures.items() if name.startswith("filter") and name.endswith("_cpu_ms"))
    figures["filter_slowest_cpu_ms"] = slowest
    figures["filter_median_cpu_ms"] = statistics.median(
        value for name, value in figures.items() if name.startswith("filter_") and name.endswith("_cpu_ms")
    )
    return {f"datasets_{name}": value for name, value in figures.items()}
