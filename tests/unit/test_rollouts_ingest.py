"""Events that tell of stored rollouts become rows, and reach the pages that are open."""

import json
from pathlib import Path

import pytest

from chanote.runs.changes import find_changes, look_at
from chanote.runs.ingest import ingest_new_lines
from chanote.runs.leases import claim
from chanote.runs.lineage import find_rollout_files
from chanote.runs.models import RolloutFile, Run, RunEvent
from chanote.runs.pages import find_cursor, read_events
from tests.installation import add_texts, launch_tiny, newest
from tests.rollout_rows import make_rollout, stored_event

pytestmark = pytest.mark.django_db


@pytest.fixture
def attempt(project, researcher):
    add_texts(project)
    run = launch_tiny(project, researcher)
    assert claim(newest(run).pk) == 1
    Path(newest(run).directory).mkdir(parents=True)
    return newest(run)


def tell(attempt, *events) -> None:
    start = RunEvent.objects.filter(attempt=attempt).count()
    with (Path(attempt.directory) / "events.jsonl").open("a", encoding="utf-8") as file:
        for seq, event in enumerate(events, start=start):
            content = event if isinstance(event, dict) else event.model_dump(mode="json")
            file.write(json.dumps({"seq": seq, "at": 1_700_000_000.0 + seq, "event": content}) + "\n")
    while ingest_new_lines(attempt.pk, 1):
        pass


ROLLOUTS = [make_rollout(0, 0, reward=1.0), make_rollout(0, 1, reward=0.0, stop_reason="length")]


def test_a_step_is_stored_once_with_its_counts(attempt):
    tell(attempt, stored_event(1, ROLLOUTS, size=99), stored_event(2, ROLLOUTS))
    rows = list(find_rollout_files(attempt.run).order_by("step").values_list("step", "groups", "rollouts", "truncated"))
    assert rows == [(1, 1, 2, 1), (2, 1, 2, 1)]
    first = RolloutFile.objects.get(step=1)
    assert (first.path, first.bytes, first.mean_reward) == ("rollouts/step-00000001.jsonl.zst", 99, 0.5)
    run = Run.objects.get(pk=attempt.run_id)
    assert run.step == 2


def test_a_step_told_again_replaces_what_was_told_before(attempt):
    tell(attempt, stored_event(1, ROLLOUTS))
    tell(attempt, stored_event(1, [make_rollout(reward=0.25)]))
    row = RolloutFile.objects.get()
    assert (row.rollouts, row.mean_reward) == (1, 0.25)


@pytest.mark.parametrize("told", [None, "NaN", "Infinity"])
def test_a_mean_that_is_no_finite_number_is_left_empty(attempt, told):
    event = stored_event(1, ROLLOUTS).model_dump(mode="json") | {"mean_reward": told}
    tell(attempt, event)
    assert RolloutFile.objects.get().mean_reward is None


def test_an_open_page_is_told_of_the_latest_step_and_not_to_fetch_itself_again(attempt):
    tell(attempt, stored_event(1, ROLLOUTS))
    seen = look_at([attempt.run_id])
    tell(attempt, stored_event(2, ROLLOUTS), stored_event(3, ROLLOUTS))
    change = find_changes(seen)[0][attempt.run_id].as_dict()
    assert change["rollouts"] == 3
    assert "reload" not in change


def test_pages_of_a_long_run_do_not_read_an_event_for_every_step(attempt):
    tell(attempt, *[stored_event(step, ROLLOUTS) for step in range(1, 301)])
    assert read_events(attempt.run) == []
    assert find_cursor(attempt.run) == RunEvent.objects.latest("id").pk
    assert RolloutFile.objects.count() == 300
