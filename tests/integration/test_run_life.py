"""A run from launch to end, with every process real, and each of them killed at a bad moment."""

import os
import signal

import pytest

from chanote.runs.models import Checkpoint, OutboxMessage, State
from chanote.runs.services import resume_run, stop_run
from tests.installation import (
    Installation,
    add_texts,
    event_types,
    launch_tiny,
    losses,
    make_people,
    newest,
    start,
)

pytestmark = [pytest.mark.trains, pytest.mark.timeout(600)]


@pytest.fixture
def people(installation: Installation):
    project, user = make_people()
    add_texts(project)
    return project, user


def test_a_run_goes_from_launch_to_its_end(installation: Installation, people):
    run = launch_tiny(*people, steps=6)
    assert run.state == State.QUEUED
    installation.start_worker()
    installation.wait_for_end(run)
    assert (run.state, run.fault, run.step, run.total_steps) == (State.FINISHED, "", 6, 6)
    assert list(losses(run)) == [1, 2, 3, 4, 5, 6]
    attempt = newest(run)
    assert (attempt.state, attempt.exit_code, attempt.number) == (State.FINISHED, 0, 1)
    assert attempt.facts["device"] == "cpu"
    assert event_types(run)[-2:] == ["run_finished", "attempt_ended"]
    assert Checkpoint.objects.get(run=run, stage_finished=True).step == 6
    assert not OutboxMessage.objects.exists()
    installation.wait_until_quiet()


def test_stopping_and_resuming_gives_the_curve_of_a_run_never_stopped(installation: Installation, people):
    whole, parted = launch_tiny(*people, steps=1000), launch_tiny(*people, steps=1000)
    installation.start_worker()
    installation.wait_for_end(whole)
    installation.wait_for_step(parted, 10)
    stop_run(parted, actor=people[1])
    installation.wait_for_end(parted)
    assert parted.state == State.STOPPED
    reached = parted.step
    assert 10 <= reached < 1000
    second = resume_run(parted, actor=people[1])
    assert second.resume_from.step == reached
    installation.wait_for_end(parted)
    assert (parted.state, parted.step, parted.fault) == (State.FINISHED, 1000, "")
    assert losses(parted) == losses(whole)
    installation.wait_until_quiet()


def test_a_killed_trainer_is_told_and_its_run_resumed(installation: Installation, people):
    run = launch_tiny(*people, steps=1000, checkpoint_every=10)
    installation.start_worker()
    attempt = installation.wait_for_step(run, 12)
    os.kill(attempt.trainer_pid, signal.SIGKILL)
    installation.wait_for_end(run)
    assert run.state == State.FAILED
    assert "killed (SIGKILL)" in run.fault
    assert newest(run).exit_code == -signal.SIGKILL
    newest_kept = Checkpoint.objects.filter(run=run, removed=None).order_by("-step")[0]
    assert f"resumed from step {newest_kept.step}" in run.fault
    resume_run(run, actor=people[1])
    installation.wait_for_end(run)
    assert (run.state, run.fault) == (State.FINISHED, "")
    assert list(losses(run)) == list(range(1, 1001))
    installation.wait_until_quiet()


def test_a_checkpoint_that_does_not_fit_on_the_disk_fails_the_run(installation: Installation, people, small_disk):
    run = launch_tiny(*people, steps=20, checkpoint_every=5)
    start(run)
    installation.wait_for_end(run)
    assert (run.state, newest(run).exit_code) == (State.FAILED, 3)
    assert "checkpoint of step 5 could not be written" in run.fault
    assert "free space" in run.fault
    assert list(losses(run)) == [1, 2, 3, 4, 5]
    assert not Checkpoint.objects.filter(run=run).exists()
    installation.wait_until_quiet()
