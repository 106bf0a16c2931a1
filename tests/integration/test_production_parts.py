"""The same code on what a production installation uses: Redis for the nudges, PostgreSQL for the tables."""

import os
import subprocess
import sys
import time

import pytest

from chanote.runs.lineage import find_rollout_files
from chanote.runs.models import Attempt, RolloutRow, RolloutText, State, Worker
from chanote.runs.rollout_index import list_missing
from chanote.runs.rollout_list import RolloutList, RolloutWish
from chanote.runs.services import launch_run
from tests.installation import (
    Installation,
    add_texts,
    event_types,
    launch_tiny,
    let_go,
    losses,
    make_people,
    newest,
    tiny_stage,
    write_recipe,
)
from tests.rollout_rows import make_rollout, store_step
from tests.run_rows import make_run

pytestmark = [pytest.mark.usefixtures("scripted"), pytest.mark.timeout(300)]

PREPARE = "import django; django.setup(); "
NUDGE = PREPARE + "import sys; from chanote.runs.launching import nudge; sys.exit(not nudge(int(sys.argv[1])))"
CLAIM_ALL = PREPARE + (
    "from chanote.runs.leases import claim\n"
    "from chanote.runs.queue import first_in_queue\n"
    "while (attempt := first_in_queue()) is not None:\n"
    "    if claim(attempt.pk): print(attempt.pk)\n"
)
CLAIM_ONCE = PREPARE + (
    "from chanote.runs.leases import claim\n"
    "from chanote.runs.queue import first_in_queue\n"
    "for _ in range(20):\n"
    "    attempt = first_in_queue()\n"
    "    if claim(attempt.pk): print(attempt.pk)\n"
)


@pytest.mark.redis
def test_redis_carries_the_nudge(installation: Installation, redis_url: str, monkeypatch):
    people = make_people()
    add_texts(people[0])
    monkeypatch.setenv("CHANOTE_REDIS_URL", redis_url)
    # Within this test only a message can start the run: the reconciler looks once, before the run exists.
    monkeypatch.setenv("CHANOTE_RECONCILE_SECONDS", "600")
    installation.start_worker()
    installation.wait_for(Worker.objects.exists, what="the worker did not start")
    time.sleep(2)
    run = launch_tiny(*people, steps=5)
    for _ in range(2):
        subprocess.run([sys.executable, "-c", NUDGE, str(newest(run).pk)], check=True, timeout=60)
    installation.wait_for_end(run)
    assert (run.state, newest(run).fence) == (State.FINISHED, 1)
    assert event_types(run).count("attempt_started") == 1
    installation.wait_until_quiet()


def claim_in_processes(code: str, *, slots: int, processes: int = 8) -> list[int]:
    """Attempts that processes running at the same time say they claimed."""
    environment = {**os.environ, "CHANOTE_DEVICE_SLOTS": str(slots)}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
        for _ in range(processes)
    ]
    answers = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0] * processes
    return [int(word) for answer in answers for word in answer.split()]


@pytest.mark.postgres
def test_eight_workers_on_postgresql_claim_each_attempt_once(on_postgres: Installation):
    people = make_people("crowd")
    add_texts(people[0])
    revision = write_recipe(people[0], [tiny_stage(5)])
    runs = [launch_run(revision=revision, owner=people[1]) for _ in range(50)]
    claimed = claim_in_processes(CLAIM_ALL, slots=50)
    assert sorted(claimed) == sorted(newest(run).pk for run in runs)
    assert set(Attempt.objects.filter(pk__in=claimed).values_list("fence", "state")) == {(1, State.RUNNING)}
    Attempt.objects.update(state=State.CANCELLED)


@pytest.mark.postgres
def test_eight_workers_on_postgresql_share_two_slots(on_postgres: Installation):
    people = make_people("narrow")
    add_texts(people[0])
    revision = write_recipe(people[0], [tiny_stage(5)])
    runs = [launch_run(revision=revision, owner=people[1]) for _ in range(6)]
    claimed = claim_in_processes(CLAIM_ONCE, slots=2)
    assert sorted(claimed) == [newest(run).pk for run in runs[:2]]
    Attempt.objects.update(state=State.CANCELLED)


@pytest.mark.postgres
def test_a_run_on_postgresql_is_adopted_and_told_once(on_postgres: Installation, monkeypatch):
    # Long enough that a busy machine silences no supervisor for it: the worker would hand the run on once more.
    monkeypatch.setenv("CHANOTE_LEASE_SECONDS", "6")
    people = make_people("whole")
    add_texts(people[0])
    run = launch_tiny(*people, steps=30, script="wait=5")
    on_postgres.start_worker()
    attempt = on_postgres.wait_for_step(run, 5)
    os.kill(attempt.supervisor_pid, 9)
    on_postgres.wait_for(lambda: "attempt_adopted" in event_types(run), what="adoption")
    let_go(run)
    on_postgres.wait_for_end(run)
    assert (run.state, newest(run).fence) == (State.FINISHED, 2)
    assert list(losses(run)) == list(range(1, 31))
    on_postgres.wait_until_quiet()


@pytest.mark.postgres
def test_rollouts_on_postgresql_are_found_by_what_was_said_in_them(on_postgres: Installation, tmp_path):
    project, _ = make_people("readers")
    run = make_run(project, state="finished")
    Attempt.objects.filter(run=run).update(directory=str(tmp_path))
    said = [["ค่าปรับ", "ไม่เกินห้าพันบาท"], ["Section ", "7 ", "\0 applies."], ["Sectio", "n 8."]]
    rollouts = [make_rollout(number, 0, tokens=tokens, reward=number / 2) for number, tokens in enumerate(said)]
    store_step(run, 1, [*rollouts, make_rollout(3, 0, reward=None, advantage=None)])
    assert list_missing(find_rollout_files(run)) == 0
    for words, places in (
        ("ปรับไม่", ["1.0.0"]), ("SECTION", ["1.1.0", "1.2.0"]), ("section 9", []), ("7", ["1.1.0"]),
        ("Question 2?", ["1.2.0"]), ("xyzzy", []),
    ):  # fmt: skip
        assert [str(row) for row in RolloutList(run, RolloutWish(words=words)).page().rows] == places, words
    ordered = RolloutList(run, RolloutWish(sort="reward", descending=True))
    first = ordered.page(size=3)
    assert [str(row) for row in first.rows] == ["1.2.0", "1.1.0", "1.0.0"]
    assert [str(row) for row in ordered.page(after=first.after).rows] == ["1.3.0"]
    assert list_missing(find_rollout_files(run)) == 0
    assert RolloutRow.objects.filter(run=run).count() == 4
    run.delete()
    assert not RolloutText.objects.exists()
