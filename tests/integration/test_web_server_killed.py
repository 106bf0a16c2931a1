"""The web server dies by kill -9 while a run goes on and a client sends metrics: nothing is lost, nothing doubled."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest
from serving import Platform

SCRIPTED = Path(__file__).resolve().parents[1] / "scripted_trainer.py"
BATCHES = 80
BATCH = 50
RECIPE = """\
base: ""
description: wait=5
stages:
  - kind: cpt
    data: [{dataset: notes}]
    steps: 9
    initialise: {hidden_size: 32, layers: 1, heads: 2, kv_heads: 1, head_dim: 16, ffn_size: 32}
"""
KEEP_PASSWORD = (
    "import django; django.setup(); from chanote.accounts.models import User;"
    "User.objects.update(must_change_password=False)"
)


@pytest.fixture
def platform(prepared_home, tmp_path):
    command = f"{sys.executable} {SCRIPTED}"
    platform = Platform(tmp_path / "home", prepared=prepared_home, CHANOTE_TRAINER_COMMAND=command)
    platform.environment["DJANGO_SETTINGS_MODULE"] = "chanote.settings"
    yield platform.start()
    platform.stop()


def ask(platform: Platform, *arguments: str):
    answer = platform.run(*arguments, "--json", "--project", "main")
    assert answer.returncode == 0, answer.stderr + answer.stdout
    return json.loads(answer.stdout)


def find_web_server(platform: Platform) -> psutil.Process | None:
    assert platform.process is not None
    children = psutil.Process(platform.process.pid).children()
    return next((child for child in children if "chanote.asgi:application" in child.cmdline()), None)


def launch(platform: Platform, folder: Path) -> str:
    """A run that stays at step 5, and a token to send metrics for it."""
    (folder / "notes.jsonl").write_text("".join(f'{{"text": "note {n}"}}\n' for n in range(20)))
    (folder / "recipe.yaml").write_text(RECIPE)
    ask(platform, "dataset", "import", str(folder / "notes.jsonl"), "--kind", "text")
    ask(platform, "recipe", "save", "waits", str(folder / "recipe.yaml"))
    ask(platform, "run", "launch", "waits")
    subprocess.run([platform.python, "-c", KEEP_PASSWORD], env=platform.environment, check=True)
    return ask(platform, "token", "create", "sender", "--scope", "runs:write", "--scope", "runs:read")["token"]


def send_metrics(client: httpx.Client, sent: list[int], deadline: float) -> None:
    """Batches in order, each until it is answered: a client cannot know whether an unanswered one was stored."""
    for number in range(BATCHES):
        steps = list(range(number * BATCH, (number + 1) * BATCH))
        body = {"batch": f"b{number}", "series": {"own/value": {"steps": steps, "values": [float(s) for s in steps]}}}
        while time.monotonic() < deadline:
            try:
                if client.post("runs/1/metrics/", json=body).status_code == 200:
                    sent.append(number)
                    break
            except httpx.TransportError:
                time.sleep(0.05)


@pytest.mark.timeout(300)
def test_a_killed_web_server_comes_back_and_nothing_is_lost_or_doubled(platform, tmp_path):
    token = launch(platform, tmp_path)
    sent: list[int] = []
    with httpx.Client(
        base_url=f"{platform.url}/api/v1/projects/main/", headers={"Authorization": f"Bearer {token}"}, timeout=60
    ) as client:
        sender = threading.Thread(target=send_metrics, args=(client, sent, time.monotonic() + 200))
        sender.start()
        killed = []
        for threshold in (5, 30):
            while len(sent) < threshold:
                time.sleep(0.005)
            while (server := find_web_server(platform)) is None:
                time.sleep(0.05)
            server.kill()
            killed.append(server.pid)
        sender.join()
        assert len(set(killed)) == 2
        assert len(sent) == BATCHES

        (attempt,) = (platform.home / "runs").glob("*/attempt-1")
        (attempt / "go").touch()
        assert platform.run("run", "wait", "1", "--project", "main").returncode == 0
        curves = {one["key"]: one for one in client.get("runs/1/curves/", params={"points": 5000}).json()["curves"]}
    assert curves["own/value"]["steps"] == list(range(BATCHES * BATCH))
    assert curves["own/value"]["mean"] == [float(step) for step in range(BATCHES * BATCH)]
    assert curves["train/loss"]["steps"] == list(range(1, 10))
    assert curves["train/loss"]["mean"] == [pytest.approx(step + 0.1) for step in range(1, 10)]


@pytest.mark.timeout(300)
def test_what_was_started_ends_with_the_platform(platform):
    assert platform.process is not None
    started = psutil.Process(platform.process.pid).children(recursive=True)
    server = find_web_server(platform)
    assert server is not None
    server.kill()
    assert platform.stop() == 0
    _, left = psutil.wait_procs(started, timeout=60)
    assert left == []
