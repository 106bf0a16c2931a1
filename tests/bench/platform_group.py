"""Figures of the platform over real HTTP: one uvicorn process and one worker, SQLite, an empty home directory."""

import gzip
import http.client
import json
import math
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

BATCH = 1_000
BATCHES = 200
CURVE_POINTS = 100_000
RUNS = 1_000
RUN = "/api/v1/projects/bench/runs/1/"
REPEATS = 15
POINTS_ON_SCREEN = 1_000

PREPARE = """
import django, json, sys
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0); call_command("createcachetable", verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
from django.test import Client
from chanote.accounts.models import User
from chanote.accounts.services import create_project, create_token, create_user
from chanote.recipes.models import Recipe, Revision
from chanote.runs.models import Attempt, MetricSeries, Run, State
user, _ = create_user("bench", is_superuser=True)
User.objects.filter(pk=user.pk).update(must_change_password=False)
project = create_project(slug="bench", name="Bench", owner=user)
recipe = Recipe.objects.create(project=project, slug="r", title="R")
resolved = {"base": "", "seed": 0, "description": "", "stages": []}
revision = Revision.objects.create(recipe=recipe, number=1, yaml="", resolved=resolved, sha256="0" * 64)
snapshot = {"recipe": resolved, "datasets": {}, "tasks": {}, "base": None}
runs = Run.objects.bulk_create([
    Run(project=project, number=n, name=f"run-{n}", revision=revision, snapshot=snapshot, owner=user,
        state=State.FINISHED, step=100, total_steps=100) for n in range(1, int(sys.argv[1]) + 1)])
Attempt.objects.bulk_create([Attempt(run=run, number=1, directory="", state=State.FINISHED) for run in runs])
MetricSeries.objects.bulk_create([
    MetricSeries(run=run, key=key, points=100, last_step=100, last_value=1.5, lowest=1, highest=3)
    for run in runs for key in ("train/loss", "train/learning_rate", "held_out/x/loss")])
_, token = create_token(user, name="bench", scopes=["runs:read", "runs:write"], days=1)
client = Client(); client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
print(json.dumps({"token": token, "session": client.cookies["sessionid"].value}))
"""

STEPS, PER_STEP = 196, 512
"""Of the run whose rollouts are read: 100,352."""
FILL = """
import django, json, sys, time
django.setup()
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from rollout_store import write_step
from chanote.runs.lineage import find_rollout_files
from chanote.runs.models import Attempt, RolloutFile, RolloutRow, Run
folder, steps, per_step = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
run = Run.objects.get(project__slug="bench", number=2)
attempt = run.attempts.get()
Attempt.objects.filter(pk=attempt.pk).update(directory=str(folder), started=run.created)
RolloutFile.objects.bulk_create(
    [RolloutFile(attempt=attempt, **write_step(folder, step, per_step)) for step in range(1, steps + 1)])
from chanote.runs.rollout_index import list_missing
begun = time.process_time()
assert list_missing(find_rollout_files(run)) == 0
print(json.dumps(RolloutRow.objects.filter(run=run).count() / (time.process_time() - begun)))
"""
ROLLOUTS = {
    "first_rows": "",
    "filter": "&flag=malformed&low=1",
    "search": "&q=%E0%B8%84%E0%B9%88%E0%B8%B2%E0%B8%9B%E0%B8%A3%E0%B8%B1%E0%B8%9A",
    "rare_search": "&q=zyzzyva",
    "worst": "&sort=reward",
}
"""Figure → what is asked of all steps. Half of the rollouts say the third, ค่าปรับ; one in a thousand the fourth."""


def measure() -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="chanote-bench-") as home:
        environment = {**os.environ, "CHANOTE_HOME": home, "DJANGO_SETTINGS_MODULE": "chanote.settings"}
        environment.pop("CHANOTE_DEBUG", None)
        prepared = subprocess.run(
            [sys.executable, "-c", PREPARE, str(RUNS)], env=environment, capture_output=True, text=True, check=True
        )
        given = json.loads(prepared.stdout.splitlines()[-1])
        where = [str(Path(__file__).parent), str(Path(home) / "rollouts"), str(STEPS), str(PER_STEP)]
        filled = subprocess.run(
            [sys.executable, "-c", FILL, *where], env=environment, capture_output=True, text=True, check=True
        )
        with serve(environment) as (port, processes):
            time.sleep(5)
            figures = {"platform.idle_memory_mb": sum_memory_mb(processes)}
            page = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            cookie = {"Cookie": f"sessionid={given['session']}", "Accept-Encoding": "gzip"}
            figures["platform.first_page_kb"] = weigh_page(page, cookie, "/")
            figures["platform.runs_table_ms"] = time_page(page, cookie, "/p/bench/runs/")
            figures["platform.rollouts_listed_per_cpu_s"] = json.loads(filled.stdout.splitlines()[-1])
            for name, query in ROLLOUTS.items():
                path = f"/p/bench/runs/2/rollouts/?all=1{query}"
                figures |= {f"platform.rollouts_{name}_{unit}": value for unit, value in
                            time_with_cpu(page, cookie, path, processes).items()}  # fmt: skip
            bearer = {"Authorization": f"Bearer {given['token']}", "Accept-Encoding": "gzip"}
            figures["platform.ingest_points_per_s"] = ingest(page, bearer)
            figures |= read_curve(page, bearer)
    return figures


@contextmanager
def serve(environment: dict[str, str]) -> Iterator[tuple[int, list[psutil.Process]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # `up` is what people run: it is measured whole, with its web server and worker.
    program = subprocess.Popen(
        [sys.executable, "-m", "chanote.cli", "up", "--port", str(port)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert program.stdout is not None
        for line in program.stdout:
            if line.startswith("Chanote is at"):
                break
        parent = psutil.Process(program.pid)
        yield port, [parent, *parent.children(recursive=True)]
    finally:
        program.send_signal(signal.SIGINT)
        program.wait(60)


def sum_memory_mb(processes: list[psutil.Process]) -> float:
    """Sum of proportional set sizes: a page shared by several processes counts once in all."""
    return sum(process.memory_full_info().pss for process in processes) / 1e6


def get(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> tuple[bytes, bytes]:
    """Body as sent over the wire and body unpacked."""
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    wire = answer.read()
    assert answer.status == 200, (path, answer.status, wire[:300])
    return wire, gzip.decompress(wire) if answer.getheader("Content-Encoding") == "gzip" else wire


def weigh_page(connection: http.client.HTTPConnection, cookie: dict[str, str], path: str) -> float:
    """Kilobytes over the wire for a page with every style sheet, script and image it names."""
    wire, body = get(connection, path, cookie)
    total = len(wire)
    seen = set(re.findall(r'(?:src|href)="(/static/[^"#]+)', body.decode()))
    queue = list(seen)
    while queue:
        wire, body = get(connection, queue.pop(), cookie)
        total += len(wire)
        for name in re.findall(r'(?:from|import)\s*\(?"(/static/[^"]+)"', body.decode(errors="ignore")):
            if name not in seen:
                seen.add(name)
                queue.append(name)
    return total / 1e3


def time_page(connection: http.client.HTTPConnection, cookie: dict[str, str], path: str) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        get(connection, path, cookie)
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:]) * 1e3


def time_with_cpu(
    connection: http.client.HTTPConnection, cookie: dict[str, str], path: str, processes: list[psutil.Process]
) -> dict[str, float]:
    """Of a page: milliseconds until it is there, and of the processors, which do not depend on what else runs."""
    get(connection, path, cookie)
    before = sum_cpu_s(processes)
    waited = time_page(connection, cookie, path)
    return {"ms": waited, "cpu_ms": (sum_cpu_s(processes) - before) / REPEATS * 1e3}


def sum_cpu_s(processes: list[psutil.Process]) -> float:
    """Of the web server; the worker's own life is not the page's."""
    serving = [process for process in processes if any("uvicorn" in word for word in process.cmdline())]
    assert serving, "no process is called uvicorn"
    return sum(sum(process.cpu_times()[:2]) for process in serving)


def ingest(connection: http.client.HTTPConnection, bearer: dict[str, str]) -> float:
    """Points stored per second by one client sending batches of a thousand."""
    bodies = []
    for number in range(BATCHES):
        steps = list(range(number * BATCH, (number + 1) * BATCH))
        values = [3 * math.exp(-step / 40_000) + 0.1 * math.sin(step) for step in steps]
        if number == BATCHES // 3:
            values[500] = 42.0
        bodies.append(json.dumps({"batch": f"b{number}", "series": {"bench/loss": {"steps": steps, "values": values}}}))
    start = time.perf_counter()
    for body in bodies:
        connection.request("POST", f"{RUN}metrics/", body=body, headers={**bearer, "Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status in (200, 201, 202), (answer.status, text[:300])
    return BATCHES * BATCH / (time.perf_counter() - start)


def read_curve(connection: http.client.HTTPConnection, bearer: dict[str, str]) -> dict[str, float]:
    """A curve of 200,000 points cut to its first 100,000, as 1,000: time, size, and the planted spike still there."""
    path = f"{RUN}curves/?key=bench/loss&points={POINTS_ON_SCREEN}&stop={CURVE_POINTS - 1}"
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        wire, body = get(connection, path, bearer)
        times.append(time.perf_counter() - start)
    assert b"42" in body, "the spike is gone"
    return {"platform.curve_ms": statistics.median(times) * 1e3, "platform.curve_kb": len(wire) / 1e3}


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
