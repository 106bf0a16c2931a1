"""Lines of events.jsonl become rows exactly once, whatever the file and the other apps do."""

import json
from pathlib import Path

import pytest

from chanote.runs.endings import Ending, close_attempt, judge
from chanote.runs.ingest import apply_effects, ingest_new_lines, retry_effects
from chanote.runs.leases import Superseded, claim
from chanote.runs.models import Attempt, Checkpoint, Run, RunEvent, State
from chanote.runs.services import resume_run, retry_run
from tests.installation import add_texts, event_types, launch_tiny, losses, newest

pytestmark = pytest.mark.django_db
STAGE = {"type": "stage_started", "stage": 0, "kind": "cpt", "name": "", "first_step": 1, "steps": 6}


@pytest.fixture
def attempt(project, researcher) -> Attempt:
    add_texts(project)
    run = launch_tiny(project, researcher)
    assert claim(newest(run).pk) == 1
    Path(newest(run).directory).mkdir(parents=True)
    return newest(run)


@pytest.fixture
def run(attempt: Attempt) -> Run:
    return attempt.run


def line(seq: int, **event: object) -> str:
    return json.dumps({"seq": seq, "at": 1_700_000_000.0 + seq, "event": event})


def metrics(seq: int, step: int, loss: object) -> str:
    return line(seq, type="metrics_logged", stage=0, step=step, values={"train/loss": loss})


def tell(attempt: Attempt, *lines: str, end: str = "\n") -> None:
    with (Path(attempt.directory) / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + end)


def take_in(attempt: Attempt, fence: int = 1) -> None:
    while ingest_new_lines(attempt.pk, fence):
        pass


def test_a_torn_last_line_waits_until_it_is_whole(attempt: Attempt, run: Run):
    whole = metrics(1, 1, 0.5)
    tell(attempt, line(0, **STAGE), whole[:30], end="")
    take_in(attempt)
    assert event_types(run) == ["stage_started"]
    assert ingest_new_lines(attempt.pk, 1) == 0
    tell(attempt, whole[30:])
    take_in(attempt)
    assert losses(run) == {1: 0.5}


def test_what_was_stored_is_not_stored_again(attempt: Attempt, run: Run):
    tell(attempt, line(0, **STAGE), metrics(1, 1, 0.5))
    take_in(attempt)
    # Even when the file says it again, as a copy restored from a backup might.
    tell(attempt, line(0, **STAGE), metrics(1, 1, 0.7), metrics(2, 2, 0.25))
    take_in(attempt)
    assert event_types(run) == ["stage_started"]
    assert losses(run) == {1: 0.5, 2: 0.25}


def test_an_old_fence_stores_nothing(attempt: Attempt, run: Run):
    tell(attempt, line(0, **STAGE))
    Attempt.objects.filter(pk=attempt.pk).update(fence=2)
    with pytest.raises(Superseded):
        ingest_new_lines(attempt.pk, 1)
    with pytest.raises(Superseded):
        close_attempt(attempt.pk, 1, Ending(State.FAILED))
    assert not RunEvent.objects.exists()
    assert newest(run).state == State.RUNNING
    take_in(attempt, fence=2)
    assert event_types(run) == ["stage_started"]


def test_a_line_that_is_no_event_is_told_and_passed_over(attempt: Attempt, run: Run):
    tell(attempt, line(0, **STAGE), "not json", line(1, type="unheard_of"), metrics(2, 1, 0.5))
    take_in(attempt)
    assert losses(run) == {1: 0.5}
    problems = RunEvent.objects.filter(type="ingest_problem").values_list("payload__message", flat=True)
    assert len([text for text in problems if "is no event" in text]) == 2
    assert any("events 1 to 1 are missing" in text for text in problems)


def test_what_is_no_number_reaches_the_curve(attempt: Attempt, run: Run):
    tell(attempt, metrics(0, 1, "NaN"), metrics(1, 2, "-Infinity"))
    take_in(attempt)
    assert [str(value) for value in losses(run).values()] == ["nan", "-inf"]


def test_the_run_shows_where_its_trainer_is(attempt: Attempt, run: Run):
    tell(attempt, line(0, **STAGE), metrics(1, 1, 1.0), metrics(2, 2, 0.5))
    take_in(attempt)
    run.refresh_from_db()
    assert (run.step, run.stage, run.total_steps) == (2, 0, 6)


def test_a_long_line_is_read_whole(attempt: Attempt, run: Run):
    rows = [[{"text": "มาตรา " * 100_000, "trained": True}]]
    tell(attempt, line(0, type="batch_seen", stage=0, step=1, rows=rows), metrics(1, 1, 0.5))
    take_in(attempt)
    assert event_types(run) == ["batch_seen"]
    assert losses(run) == {1: 0.5}


def saved(seq: int, step: int) -> str:
    path = f"checkpoints/step-{step:06d}"
    facts = {"stage": 0, "step": step, "path": path, "sha256": "a" * 64, "bytes": 7, "stage_finished": True}
    return line(seq, type="checkpoint_saved", **facts)


def started(resumed_from: int | None) -> str:
    facts = {"pid": 1, "hostname": "h", "device": "cpu", "threads": 1, "packages": {}, "hardware": {}}
    return line(0, type="attempt_started", resumed_from_step=resumed_from, **facts)


def test_resuming_past_an_attempt_in_between_brings_its_own_points_back(attempt: Attempt, run: Run):
    """The second attempt starts over and gets to step 2; the third continues the first from its step 4."""
    tell(attempt, started(None), *[metrics(step, step, 1.0) for step in range(1, 7)], saved(7, 4))
    take_in(attempt)
    (Path(attempt.directory) / "checkpoints/step-000004").mkdir(parents=True)
    close_attempt(attempt.pk, 1, Ending(State.FAILED, fault="f"))
    for act, first, value in ((retry_run, 1, 2.0), (resume_run, 5, 3.0)):
        again = act(run)
        assert claim(again.pk) == 1
        Path(again.directory).mkdir(parents=True)
        tell(again, started(first - 1 or None), metrics(1, first, value), metrics(2, first + 1, value))
        take_in(again)
        if act is retry_run:
            assert losses(run) == {1: 2.0, 2: 2.0}
            close_attempt(again.pk, 1, Ending(State.FAILED, fault="f"))
    assert losses(run) == {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0, 5: 3.0, 6: 3.0}


def test_checkpoints_come_and_go_with_their_events(attempt: Attempt, run: Run):
    tell(attempt, saved(0, 3), line(1, type="checkpoint_removed", step=3, path="checkpoints/step-000003"), saved(2, 6))
    take_in(attempt)
    assert [(one.step, one.removed is not None) for one in Checkpoint.objects.filter(run=run)] == [
        (3, True),
        (6, False),
    ]


def test_an_effect_that_fails_is_told_and_done_later(attempt: Attempt, run: Run, monkeypatch):
    done: list[int] = []

    def refuse(checkpoint: Checkpoint, *, actor: object = None) -> None:
        raise ValueError("the model store is full.")

    monkeypatch.setattr("chanote.models.services.register_checkpoint", refuse)
    tell(attempt, saved(0, 6), metrics(1, 6, 0.5))
    take_in(attempt)
    assert apply_effects(attempt.pk, 1) == 1
    assert apply_effects(attempt.pk, 1) == 0, "it is not tried at every look"
    assert losses(run) == {6: 0.5}
    problem = RunEvent.objects.get(type="ingest_problem")
    assert problem.payload["message"] == "Step 6: the checkpoint became no model, because the model store is full."

    monkeypatch.setattr("chanote.models.services.register_checkpoint", lambda one, actor=None: done.append(one.step))
    assert retry_effects(attempt.pk) == 0
    assert retry_effects(attempt.pk) == 0
    assert done == [6]
    problem.refresh_from_db()
    assert problem.payload["solved"] is True


@pytest.mark.parametrize(
    ("last", "exit_code", "wish", "state", "fault"),
    [
        ({"type": "run_finished", "step": 6}, 0, None, State.FINISHED, ""),
        ({"type": "run_finished", "step": 6}, None, None, State.FINISHED, ""),
        ({"type": "attempt_stopped", "step": 3, "reason": "r"}, 4, "stop_requested", State.STOPPED, ""),
        ({"type": "attempt_stopped", "step": 3, "reason": "r"}, None, None, State.STOPPED, ""),
        ({"type": "attempt_stopped", "step": 3, "reason": "r"}, 4, "cancel_requested", State.CANCELLED, ""),
        ({"type": "attempt_failed", "error": "no room"}, 3, None, State.FAILED, "no room"),
        ({"type": "attempt_failed", "error": "no room"}, None, None, State.FAILED, "no room"),
        (None, None, None, State.FAILED, "vanished"),
        (None, -9, None, State.FAILED, "killed (SIGKILL)"),
        (None, -9, "stop_requested", State.FAILED, "saved nothing within"),
        (None, -9, "cancel_requested", State.CANCELLED, ""),
        (None, -15, "stop_requested", State.STOPPED, ""),
        (None, -11, None, State.FAILED, "SIGSEGV"),
        (None, 2, None, State.FAILED, "recipe.base: is wrong"),
    ],
)
def test_an_attempt_ends_in_its_true_state(attempt: Attempt, run: Run, last, exit_code, wish, state, fault):
    from django.utils import timezone

    (Path(attempt.directory) / "stderr.log").write_text("Traceback\nrecipe.base: is wrong\n\n")
    if last:
        tell(attempt, line(0, **last))
        take_in(attempt)
    if wish:
        Attempt.objects.filter(pk=attempt.pk).update(**{wish: timezone.now()})
    attempt.refresh_from_db()
    close_attempt(attempt.pk, 1, judge(attempt, exit_code))
    run.refresh_from_db()
    assert run.state == newest(run).state == state
    assert fault in run.fault
    assert bool(run.fault) == bool(fault)
    assert newest(run).exit_code == exit_code
