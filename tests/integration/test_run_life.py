"""A run from launch to end, with every process real, and each of them killed at a bad moment."""

import pytest

from chanote.runs.models import Checkpoint, OutboxMessage, State
from tests.installation import (
    Installation,
    add_texts,
    event_types,
    launch_tiny,
    losses,
    make_people,
    newest,
)

pytestmark = [pytest.mark.trains, pytest.mark.timeout(180)]


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
