"""Processes killed, paused and repeated at bad moments: the run ends in a true state, and each step is told once."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from django.db import connection

from chanote.runs import launching
from chanote.runs.launching import nudge, start_attempt
from chanote.runs.leases import claim
from chanote.runs.models import Attempt, OutboxMessage, Run, State
from chanote.runs.reconciler import expired_attempts, reconcile
from chanote.runs.services import cancel_run, resume_run, retry_run, stop_run
from tests.installation import (
    Installation,
    add_texts,
    event_types,
    launch_tiny,
    let_go,
    losses,
    make_people,
    newest,
    start,
)

pytestmark = [pytest.mark.usefixtures("scripted"), pytest.mark.timeout(300)]


@pytest.fixture
def people(installation: Installation):
    project, user = make_people()
    add_texts(project)
    return project, user


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def each_step_once(run: Run, last: int) -> None:
    """Every step from 1 has exactly one point, and no event was told twice."""
    assert list(losses(run)) == list(range(1, last + 1))
    for attempt in run.attempts.all():
        told = list(attempt.events.values_list("seq", flat=True))
        assert len(told) == len(set(told))


def reconcile_until_taken_over(installation: Installation, attempt: Attempt) -> None:
    installation.wait_for(lambda: expired_attempts(), seconds=20, what="the lease did not run out")
    reconcile()
    attempt.refresh_from_db()
    assert attempt.fence == 2


def test_messages_that_come_twice_start_one_trainer(installation: Installation, people):
    run = launch_tiny(*people, steps=40)
    for _ in range(4):
        nudge(newest(run).pk)
    installation.start_worker()
    installation.start_worker()
    installation.wait_for_end(run)
    assert run.state == State.FINISHED
    assert newest(run).fence == 1
    assert event_types(run).count("attempt_started") == 1
    each_step_once(run, 40)
    installation.wait_until_quiet()


def test_messages_in_the_wrong_order_leave_the_queue_in_order(installation: Installation, people):
    first, second = launch_tiny(*people, steps=5), launch_tiny(*people, steps=5)
    assert not start_attempt(newest(second).pk)
    start(first)
    assert not start_attempt(newest(second).pk), "the one device slot is taken"
    installation.wait_for_end(first)
    reconcile()
    installation.wait_for_end(second)
    assert second.started > first.started
    installation.wait_until_quiet()


def test_a_launch_survives_a_broker_that_is_away(installation: Installation, people, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(launching, "prepare_broker", lambda: (_ for _ in ()).throw(OSError("no broker")))
        run = launch_tiny(*people, steps=5)
    assert OutboxMessage.objects.count() == 1
    reconcile()
    installation.wait_for_end(run)
    assert run.state == State.FINISHED
    assert not OutboxMessage.objects.exists()
    installation.wait_until_quiet()


@pytest.mark.usefixtures("short_leases")
def test_a_worker_killed_between_claim_and_start_loses_nothing(installation: Installation, people):
    run = launch_tiny(*people, steps=5)
    assert claim(newest(run).pk) == 1
    reconcile_until_taken_over(installation, newest(run))
    installation.wait_for_end(run)
    assert run.state == State.FINISHED
    each_step_once(run, 5)
    installation.wait_until_quiet()


def test_a_killed_worker_does_not_touch_its_run(installation: Installation, people):
    run = launch_tiny(*people, steps=20, script="wait=5")
    worker = installation.start_worker()
    installation.wait_for_step(run, 5)
    worker.kill()
    worker.wait()
    let_go(run)
    installation.wait_for_end(run)
    assert (run.state, newest(run).fence) == (State.FINISHED, 1)
    each_step_once(run, 20)
    installation.wait_until_quiet()


@pytest.mark.usefixtures("short_leases")
def test_a_trainer_whose_supervisor_was_killed_is_adopted(installation: Installation, people):
    run = launch_tiny(*people, steps=20, script="wait=5,9")
    start(run)
    attempt = installation.wait_for_step(run, 5)
    trainer = attempt.trainer_pid
    kill(attempt.supervisor_pid)
    reconcile_until_taken_over(installation, attempt)
    installation.wait_for(lambda: "attempt_adopted" in event_types(run), what="adoption")
    assert newest(run).trainer_pid == trainer
    let_go(run)
    installation.wait_for_end(run)
    assert (run.state, newest(run).number, newest(run).exit_code) == (State.FINISHED, 1, None)
    assert event_types(run).count("attempt_started") == 1
    each_step_once(run, 20)
    installation.wait_until_quiet()


@pytest.mark.usefixtures("short_leases")
def test_a_trainer_that_its_supervisor_had_no_time_to_note_is_found(installation: Installation, people):
    run = launch_tiny(*people, steps=20, script="wait=5")
    start(run)
    attempt = installation.wait_for_step(run, 5)
    trainer = attempt.trainer_pid
    kill(attempt.supervisor_pid)
    Attempt.objects.filter(pk=attempt.pk).update(trainer_pid=None, trainer_started=None)
    reconcile_until_taken_over(installation, attempt)
    installation.wait_for(lambda: "attempt_adopted" in event_types(run), what="adoption")
    assert newest(run).trainer_pid == trainer
    let_go(run)
    installation.wait_for_end(run)
    assert run.state == State.FINISHED
    each_step_once(run, 20)
    installation.wait_until_quiet()


@pytest.mark.usefixtures("short_leases")
def test_a_run_that_finished_unwatched_is_closed_as_finished(installation: Installation, people):
    run = launch_tiny(*people, steps=20, script="wait=5")
    start(run)
    attempt = installation.wait_for_step(run, 5)
    kill(attempt.supervisor_pid)
    let_go(run)
    reconcile_until_taken_over(installation, attempt)
    installation.wait_for_end(run)
    assert (run.state, run.step) == (State.FINISHED, 20)
    each_step_once(run, 20)
    installation.wait_until_quiet()


@pytest.mark.usefixtures("short_leases")
def test_after_a_power_cut_the_run_is_closed_as_vanished(installation: Installation, people):
    run = launch_tiny(*people, steps=500, script="wait=5 save=3")
    start(run)
    attempt = installation.wait_for_step(run, 5)
    kill(attempt.supervisor_pid)
    kill(attempt.trainer_pid)
    reconcile_until_taken_over(installation, attempt)
    installation.wait_for_end(run)
    assert run.state == State.FAILED
    assert "vanished" in run.fault
    assert "resumed from step 3" in run.fault
    installation.wait_until_quiet()


@pytest.mark.usefixtures("short_leases")
def test_a_supervisor_that_slept_too_long_may_not_write(installation: Installation, people):
    run = launch_tiny(*people, steps=20, script="wait=5")
    start(run)
    attempt = installation.wait_for_step(run, 5)
    sleeper, trainer = attempt.supervisor_pid, attempt.trainer_pid
    os.kill(sleeper, signal.SIGSTOP)
    reconcile_until_taken_over(installation, attempt)
    installation.wait_for(lambda: "attempt_adopted" in event_types(run), what="adoption")
    os.kill(sleeper, signal.SIGCONT)
    installation.wait_for(
        lambda: launching.reap_supervisors() or not psutil.pid_exists(sleeper), what="the old supervisor stayed"
    )
    assert newest(run).trainer_pid == trainer
    let_go(run)
    installation.wait_for_end(run)
    assert (run.state, newest(run).fence) == (State.FINISHED, 2)
    each_step_once(run, 20)
    installation.wait_until_quiet()


def test_a_trainer_that_dies_in_the_middle_of_a_line(installation: Installation, people):
    run = launch_tiny(*people, steps=20, script="tear=7 save=4")
    start(run)
    installation.wait_for_end(run)
    assert run.state == State.FAILED
    each_step_once(run, 7)
    assert "ingest_problem" not in event_types(run)
    resume_run(run)
    reconcile()
    # The resumed attempt tears at step 7 as well: what it told replaces what the first one told.
    installation.wait_for_end(run)
    assert losses(run) == {1: 1.1, 2: 2.1, 3: 3.1, 4: 4.1, 5: 5.2, 6: 6.2, 7: 7.2}
    installation.wait_until_quiet()


@pytest.mark.usefixtures("short_leases")
def test_a_database_that_is_locked_for_a_while_loses_nothing(installation: Installation, people):
    run = launch_tiny(*people, steps=300, script="wait=5")
    start(run)
    installation.wait_for_step(run, 5)
    with connection.cursor() as cursor:
        cursor.execute("BEGIN IMMEDIATE")
        let_go(run)
        time.sleep(4)
        cursor.execute("COMMIT")
    reconcile()
    installation.wait_for_end(run)
    assert run.state == State.FINISHED
    each_step_once(run, 300)
    installation.wait_until_quiet()


def test_cancelling_kills_a_trainer_that_does_not_listen_and_its_children(
    installation: Installation, people, monkeypatch
):
    monkeypatch.setenv("CHANOTE_STOP_GRACE_SECONDS", "1")
    run = launch_tiny(*people, steps=5000, script="deaf child")
    start(run)
    attempt = installation.wait_for_step(run, 2)
    assert len(installation.processes()) == 3
    cancel_run(run, actor=people[1], reason="wrong data")
    installation.wait_for_end(run)
    assert run.state == State.CANCELLED
    assert not psutil.pid_exists(attempt.trainer_pid) or psutil.Process(attempt.trainer_pid).status() == "zombie"
    installation.wait_until_quiet()


def test_stop_resume_cancel_retry(installation: Installation, people):
    user = people[1]
    run = launch_tiny(*people, steps=20, script="wait=5,9")
    start(run)
    installation.wait_for_step(run, 5)
    stop_run(run, actor=user)
    installation.wait_for_end(run)
    assert (run.state, newest(run).exit_code, run.step) == (State.STOPPED, 4, 5)
    each_step_once(run, 5)

    resume_run(run, actor=user)
    start(run)
    installation.wait_for_step(run, 9)
    cancel_run(run, actor=user)
    installation.wait_for_end(run)
    assert (run.state, run.step) == (State.CANCELLED, 9)
    each_step_once(run, 9)
    assert losses(run)[5] == 5.1
    assert losses(run)[6] == 6.2

    third = retry_run(run, actor=user)
    assert (third.number, third.resume_from) == (3, None)
    start(run)
    let_go(run)
    installation.wait_for_end(run)
    assert run.state == State.FINISHED
    each_step_once(run, 20)
    assert losses(run)[1] == 1.3
    installation.wait_until_quiet()


def test_a_supervisor_told_to_end_parks_its_run(installation: Installation, people):
    run = launch_tiny(*people, steps=20, script="wait=5")
    start(run)
    attempt = installation.wait_for_step(run, 5)
    os.kill(attempt.supervisor_pid, signal.SIGTERM)
    installation.wait_for(lambda: newest(run).number == 2, what="the run was not queued again")
    installation.wait_until_quiet()
    assert newest(run).resume_from.step == 5
    reconcile()
    installation.wait_for_end(run)
    assert run.state == State.FINISHED
    each_step_once(run, 20)
    installation.wait_until_quiet()


def test_a_full_disk_ends_the_run_with_that_reason(installation: Installation, people, small_disk: Path):
    run = launch_tiny(*people, steps=20, script="full")
    start(run)
    installation.wait_for_end(run)
    assert run.state == State.FAILED
    assert "is full" in run.fault
    installation.wait_until_quiet()
    each_step_once(run, 1)
    (next(small_disk.glob("runs/*/attempt-1/ballast"))).unlink()
    assert retry_run(run).number == 2
    cancel_run(run)
