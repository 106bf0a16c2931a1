"""All checks over real texts of the data folder, repeated with changes: time, and memory at two sizes.

Each size runs in a process and a home of its own, so that its peak of memory is its own.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SHARED_DATA") or REPOSITORY.parent / "shared/data").resolve()
SIZES = (20_000, 100_000)
PLANTED = ("โทร ๐๘๑-๒๓๔-๕๖๗๘", "mail somchai@example.co.th", "IBAN DE89 3704 0044 0532 0130 00", "นายสมชาย ใจดี")

PROGRAM = """
import json, resource, sys, time
from pathlib import Path
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.conf import settings
from chanote.accounts.models import Project
from chanote.boards.services import freeze_task
from chanote.checks.checkers import CHECKS
from chanote.checks.running import run_checks
from chanote.datasets.services import import_dataset
from chanote.datasets.shared import load_shared_data
from chanote.models.services import register_directory
from trainer.contract import TaskSpec

data, rows, base = map(Path, sys.argv[1:4])
project = Project.objects.create(slug="p", name="P")
versions = {one.dataset.slug: one for one in load_shared_data(project, None, data)}
for slug in ("nitibench-tax", "gsm8k-test", "mgsm-th", "iapp-wiki-qa-th-test", "ifeval"):
    if slug in versions:
        spec = TaskSpec(task=slug, dataset=f"{slug}@1", output_type="generate_until", metric="exact_match")
        freeze_task(project=project, definition=spec, dataset_version=versions[slug])
register_directory(project=project, slug="base", path=base, actor=None)
version = import_dataset(project=project, slug="big", kind="text", file=rows, format="jsonl", actor=None)
scratch = Path(settings.HOME) / "scratch"

def cpu():
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)

def peak():
    return [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]

before = peak()[0]
started, used = time.monotonic(), cpu()
results = run_checks(version, list(CHECKS), actor=None, scratch=scratch)
wall, spent = time.monotonic() - started, cpu() - used
again = time.monotonic()
run_checks(version, list(CHECKS), actor=None, scratch=scratch)
again = time.monotonic() - again
own, child = peak()
print(json.dumps({
    "rows": version.rows, "characters": version.statistics["characters"], "wall": wall, "cpu": spent, "again": again,
    "before": before, "own": own, "child": child,
    "items": next(result.counts["items"] for result in results if result.check_name == "overlap"),
    "checks": {result.check_name: [result.found_rows, result.seconds] for result in results},
}))
"""


def read_texts() -> list[str]:
    texts = []
    for folder in ("thai_instruct_human", "thai_law_sections", "wangchanglm_th_pref"):
        for path in sorted((DATA / folder).glob("*.jsonl")):
            for line in path.open(encoding="utf-8"):
                row = json.loads(line)
                texts.append("\n".join(value for value in row.values() if isinstance(value, str)))
    for path in sorted((DATA / "german_law").glob("*.md")):
        texts += [part for part in path.read_text(encoding="utf-8").split("\n\n") if len(part) > 80]
    return [text for text in texts if len(text) > 40]


def write_rows(path: Path, count: int) -> None:
    """Each text again and again, a part of it cut out and turned round; one in a hundred with personal data."""
    draw = random.Random(20)
    texts = read_texts()
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            text = texts[number % len(texts)]
            if number >= len(texts):
                text = change(text, draw)
            if number % 100 == 7:
                text = f"{text} {PLANTED[number // 100 % len(PLANTED)]}"
            file.write(json.dumps({"text": text, "id": f"row-{number}"}, ensure_ascii=False) + "\n")


def change(text: str, draw: random.Random) -> str:
    start, stop = sorted(draw.randrange(len(text) + 1) for _ in range(2))
    if stop - start < len(text) // 3:
        return f"{text[stop:]} {text[start:stop]} {text[:start]} {draw.randrange(10**6)}"
    return f"{text[start:stop]} {draw.randrange(10**6)}"


def run_size(count: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="chanote-bench-") as home:
        rows = Path(home) / "rows.jsonl"
        write_rows(rows, count)
        path = os.pathsep.join(str(REPOSITORY / part) for part in ("platform", "."))
        environment = {
            **os.environ, "CHANOTE_HOME": home, "PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "chanote.settings",
            "CHANOTE_LOG_JSON": "1",
        }  # fmt: skip
        command = [sys.executable, "-c", PROGRAM, str(DATA), str(rows), str(REPOSITORY / "artifacts/demo-base/model")]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True, cwd=REPOSITORY)
        figures: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
        return figures


def flatten(figures: dict[str, object], size: int) -> Iterator[tuple[str, float]]:
    thousand = size // 1000
    for name in ("wall", "cpu", "again"):
        yield f"checks_{thousand}k_{name}_s", float(str(figures[name]))
    for name in ("before", "own", "child"):
        yield f"checks_{thousand}k_peak_{name}_mib", float(str(figures[name]))


def measure() -> dict[str, float]:
    found: dict[str, float] = {}
    for size in SIZES:
        figures = run_size(size)
        print(json.dumps(figures), flush=True)
        found |= dict(flatten(figures, size))
    return found
