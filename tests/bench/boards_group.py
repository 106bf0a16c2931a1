"""A board of 50 models on 20 tasks of 1,000 items: how long it takes to open, to work out anew, and to search.

Times are of the processor, which do not depend on what else the machine does; the page is made by Django's own request
handling, without the wire. Ten tasks are right or wrong, five graded, five in a hundred clusters; one answer in fifty
failed, so that every pair is compared three times. The samples of all but the first model of a task are copies: pages
of the board read scores from the blobs alone.
"""

import json
import os
import subprocess
import sys
import tempfile

MODELS, TASKS, ITEMS = 50, 20, 1_000

PROGRAM = """
import json, statistics, sys, time
import django
django.setup()
import numpy as np
from django.core.management import call_command
call_command("migrate", verbosity=0); call_command("createcachetable", verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from chanote.accounts.models import User
from chanote.accounts.services import create_project, create_user
from chanote.boards.models import Board, Evaluation, Sample, Standing, Task
from chanote.boards.scores import keep_scores, sort_answers
from chanote.boards.selectors import read_board
from chanote.boards.services import freeze_task
from chanote.datasets.models import Dataset, DatasetVersion
from chanote.models.models import Model
from trainer.contract import TaskSpec
MODELS, TASKS, ITEMS = map(int, sys.argv[1:])
user, _ = create_user("bench", is_superuser=True)
User.objects.filter(pk=user.pk).update(must_change_password=False)
project = create_project(slug="bench", name="Bench", owner=user)
dataset = Dataset.objects.create(project=project, slug="rows", title="Rows", kind="prompts")
version = DatasetVersion.objects.create(dataset=dataset, number=1, sha256="a" * 64, rows=ITEMS, bytes=1,
                                        uses=["evaluate"])
models = [Model.objects.create(project=project, slug=f"model-{n:02}", origin="directory", location=str(n),
                               sha256=f"{n:064}") for n in range(MODELS)]
board = Board.objects.create(project=project, slug="all", title="All", baseline=models[25])
draw = np.random.default_rng(1)
names = [f"item-{n:04}" for n in range(ITEMS)]
for number in range(TASKS):
    spec = TaskSpec(task=f"task-{number:02}", dataset="rows@1", output_type="generate_until", metric="exact_match")
    task = freeze_task(project=project, definition=spec, dataset_version=version)
    clusters = [f"law-{n // 10}" for n in range(ITEMS)] if number % 4 == 3 else [""] * ITEMS
    easiness = draw.normal(0, 1, ITEMS)
    first = None
    for place, model in enumerate(models):
        chance = 1 / (1 + np.exp(-(easiness + place / MODELS)))
        if number % 4 == 2:
            score = np.clip(chance + draw.normal(0, 0.1, ITEMS), 0, 1)
        else:
            score = (draw.random(ITEMS) < chance).astype(float)
        status = np.where(draw.random(ITEMS) < 0.02, "truncated", "ok").tolist()
        one = Evaluation(project=project, task=task, model=model, settings_sha256="s", harness="h",
                         samples_sha256=f"{task.pk}-{place}", count=ITEMS, failed=status.count("truncated"))
        keep_scores(one, sort_answers(zip(names, clusters, score.tolist(), status)))
        one.save()
        one.boards.add(board)
        if first is None:
            first = one
            Sample.objects.bulk_create([
                Sample(evaluation=one, item=item, cluster=cluster, prompt="What is the fine? " * 10, output="47 " * 20,
                       target="47", score=value, status=state)
                for item, cluster, value, state in zip(names, clusters, score.tolist(), status)])
        else:
            with connection.cursor() as cursor:
                cursor.execute(
                    "INSERT INTO boards_sample (evaluation_id, item, cluster, prompt, output, target, score, status,"
                    " tokens, detail) SELECT %s, item, cluster, prompt, output, target, score, status, tokens, detail"
                    " FROM boards_sample WHERE evaluation_id = %s", [one.pk, first.pk])
client = Client(SERVER_NAME="localhost"); client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")

def measure(action, times):
    wall, cpu = [], []
    for _ in range(times):
        begun, used = time.perf_counter(), time.process_time()
        action()
        wall.append(time.perf_counter() - begun); cpu.append(time.process_time() - used)
    return statistics.median(wall) * 1e3, statistics.median(cpu) * 1e3

def get(path):
    answer = client.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return answer

figures = {}
def recompute():
    Standing.objects.all().delete()
    assert len(read_board(board).tables.build_all()) == TASKS
figures["boards.recompute_ms"], figures["boards.recompute_cpu_ms"] = measure(recompute, 2)
PAGES = json.loads(sys.stdin.read())
for name, path in PAGES.items():
    get(path)
    with CaptureQueriesContext(connection) as caught:
        get(path)
    figures[f"boards.{name}_queries"] = len(caught)
    figures[f"boards.{name}_ms"], figures[f"boards.{name}_cpu_ms"] = measure(lambda: get(path), 7)
figures["boards.samples"] = Sample.objects.count()
print(json.dumps(figures))
"""
BOARD = "/p/bench/boards/all/"
PAGES = {
    "open": BOARD,
    "open_clustered": f"{BOARD}?task=task-03@1",
    "open_clean": f"{BOARD}?clean=questions",
    "pair": f"{BOARD}pair/?a=model-10&b=model-20",
    "samples": f"{BOARD}samples/?a=model-10&b=model-20&cell=only_a",
    "csv": f"{BOARD}table.csv",
}


def measure() -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="chanote-bench-") as home:
        environment = {**os.environ, "CHANOTE_HOME": home, "DJANGO_SETTINGS_MODULE": "chanote.settings"}
        environment.pop("CHANOTE_DEBUG", None)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, str(MODELS), str(TASKS), str(ITEMS)],
            env=environment,
            input=json.dumps(PAGES),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures
