"""What may be asked of a run in which state, and what the queue says."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from chanote.audit.models import AuditEvent
from chanote.datasets.models import DatasetVersion
from chanote.datasets.storage import version_path
from chanote.models.models import Model, Origin
from chanote.runs.freezing import LaunchRefused, find_obstacles
from chanote.runs.leases import claim
from chanote.runs.models import Attempt, Checkpoint, OutboxMessage, Run, State, Worker
from chanote.runs.queue import position_of, waiting_reason
from chanote.runs.services import RunRefused, cancel_run, launch_run, move_run, resume_run, retry_run, stop_run
from tests.installation import add_texts, launch_tiny, newest, tiny_stage, write_recipe
from trainer.contract import Recipe, RunSpec

pytestmark = pytest.mark.django_db


@pytest.fixture
def texts(project, researcher) -> DatasetVersion:
    return add_texts(project)


@pytest.fixture
def run(project, researcher, texts) -> Run:
    return launch_tiny(project, researcher)


def end(run: Run, state: State) -> Run:
    Attempt.objects.filter(run=run).update(state=state, lease_until=None)
    Run.objects.filter(pk=run.pk).update(state=state)
    run.refresh_from_db()
    return run


def checkpoint(run: Run, step: int, directory: Path) -> Checkpoint:
    directory.mkdir(parents=True, exist_ok=True)
    return Checkpoint.objects.create(
        run=run, attempt=newest(run), step=step, stage=0, directory=str(directory), sha256="0" * 64
    )


def test_launching_freezes_what_the_result_depends_on(run: Run, researcher, texts: DatasetVersion):
    frozen = run.snapshot
    assert frozen["run"] == str(run.pk)
    (drawn,) = frozen["recipe"]["stages"][0]["data"]
    assert (drawn["dataset"], drawn["weight"]) == ("texts@1", 1.0)
    assert frozen["datasets"]["texts@1"]["sha256"] == texts.sha256
    assert frozen["code"]["chanote"]
    spec = RunSpec.model_validate({name: frozen[name] for name in RunSpec.model_fields if name in frozen})
    assert Path(spec.datasets["texts@1"].path).is_file()
    assert (run.number, run.name, run.state, run.total_steps) == (1, "tiny-1", State.QUEUED, 6)
    assert OutboxMessage.objects.get().attempt == newest(run)
    assert AuditEvent.objects.get(verb="run.launched").actor == researcher


def test_a_newer_version_does_not_change_a_run_that_was_frozen(run: Run, project, researcher):
    add_texts(project, count=30)
    later = launch_tiny(project, researcher)
    assert list(Run.objects.get(pk=run.pk).snapshot["datasets"]) == ["texts@1"]
    assert list(later.snapshot["datasets"]) == ["texts@2"]


def test_a_seed_given_at_launch_replaces_the_recipes(project, researcher, texts):
    run = launch_run(revision=write_recipe(project, [tiny_stage(2)]), owner=researcher, seed=77)
    assert (run.seed, run.snapshot["recipe"]["seed"]) == (77, 77)


@pytest.mark.parametrize("act", [cancel_run, stop_run])
@pytest.mark.parametrize("state", [State.FINISHED, State.FAILED, State.CANCELLED])
def test_what_has_ended_cannot_be_ended_again(run: Run, act, state: State):
    with pytest.raises(RunRefused, match="has ended"):
        act(end(run, state))


def test_a_waiting_run_is_cancelled_at_once_and_cannot_be_stopped(run: Run):
    with pytest.raises(RunRefused, match="cancel it instead"):
        stop_run(run)
    cancel_run(run)
    run.refresh_from_db()
    assert (run.state, newest(run).state, run.ended is not None) == (State.CANCELLED, State.CANCELLED, True)
    assert claim(newest(run).pk) is None


def test_a_running_run_can_be_stopped_once_and_then_cancelled(run: Run):
    assert claim(newest(run).pk) == 1
    stop_run(run)
    with pytest.raises(RunRefused, match="stopping already"):
        stop_run(run)
    cancel_run(run)
    with pytest.raises(RunRefused, match="being cancelled already"):
        cancel_run(run)
    assert newest(run).state == State.STOPPING


@pytest.mark.parametrize("act", [resume_run, retry_run])
def test_an_active_run_cannot_be_started_again(run: Run, act):
    with pytest.raises(RunRefused, match="stop or cancel it first"):
        act(run)


def test_resuming_takes_the_newest_checkpoint_whose_files_are_kept(run: Run, tmp_path: Path):
    checkpoint(run, 5, tmp_path / "step-5")
    checkpoint(run, 9, tmp_path / "step-9").delete()
    removed = checkpoint(run, 8, tmp_path / "step-8")
    Checkpoint.objects.filter(pk=removed.pk).update(removed=timezone.now())
    attempt = resume_run(end(run, State.FAILED))
    assert (attempt.number, attempt.resume_from.step, attempt.state) == (2, 5, State.QUEUED)
    run.refresh_from_db()
    assert run.state == State.QUEUED


def test_resuming_is_refused_where_nothing_is_left_to_resume(run: Run, tmp_path: Path):
    with pytest.raises(RunRefused, match="retry it"):
        resume_run(end(run, State.FAILED))
    gone = checkpoint(run, 5, tmp_path / "step-5")
    (tmp_path / "step-5").rmdir()
    with pytest.raises(RunRefused, match="were removed"):
        resume_run(run, checkpoint=gone)
    with pytest.raises(RunRefused, match="is finished"):
        resume_run(end(run, State.FINISHED))


def test_a_finished_result_is_not_overwritten_by_a_retry(run: Run):
    with pytest.raises(RunRefused, match="launch its recipe again"):
        retry_run(end(run, State.FINISHED))


def test_a_checkpoint_of_another_run_is_refused(run: Run, project, researcher, tmp_path: Path):
    other = checkpoint(launch_tiny(project, researcher), 3, tmp_path / "other")
    with pytest.raises(RunRefused, match="another run"):
        resume_run(end(run, State.FAILED), checkpoint=other)


def test_the_queue_keeps_the_order_that_an_admin_gives_it(project, researcher, texts):
    a, b, c = (launch_tiny(project, researcher) for _ in range(3))
    move_run(c, position=1)
    assert [position_of(one) for one in (a, b, c)] == [2, 3, 1]
    assert claim(newest(a).pk) is None
    assert claim(newest(c).pk) == 1
    with pytest.raises(RunRefused, match="places 1 to 2"):
        move_run(a, position=3)
    with pytest.raises(RunRefused, match="no place"):
        move_run(c, position=1)


def test_a_run_says_why_it_waits(project, researcher, texts):
    first, second, third = (launch_tiny(project, researcher) for _ in range(3))
    assert "No worker has ever been started" in waiting_reason(first)
    worker = Worker.objects.create(name="w", host="h", pid=1, heartbeat=timezone.now() - timedelta(minutes=10))
    assert "No worker has been heard from for 60" in waiting_reason(first)
    Worker.objects.filter(pk=worker.pk).update(heartbeat=timezone.now())
    assert waiting_reason(second) == "Number 2 in the queue: 1 run starts first."
    assert claim(newest(first).pk) == 1
    assert waiting_reason(first) == ""
    assert waiting_reason(second) == f"Next in the queue: the device slot is held by {first.name} (#1)."
    assert waiting_reason(third) == "Number 2 in the queue: 1 run starts first."


def test_a_run_of_another_project_is_not_named(project, researcher, texts):
    from tests.installation import make_people

    mine = launch_tiny(project, researcher)
    claim(newest(mine).pk)
    theirs, owner = make_people("tax")
    add_texts(theirs)
    waiting = launch_tiny(theirs, owner)
    Worker.objects.create(name="w", host="h", pid=1, heartbeat=timezone.now())
    assert waiting_reason(waiting) == "Next in the queue: the device slot is held by a run of another project."


def obstacles(project, *stages, **fields) -> dict[str, str]:
    recipe = Recipe.model_validate({"stages": list(stages), **fields})
    return {problem.field: problem.message for problem in find_obstacles(project, recipe)}


def test_nothing_stands_in_the_way_of_a_good_recipe(project, texts):
    assert obstacles(project, tiny_stage(3)) == {}


def test_an_unknown_dataset_is_named_with_its_field(project, texts):
    found = obstacles(project, tiny_stage(3, data=[{"dataset": "texts"}, {"dataset": "text"}]))
    assert list(found) == ["stages[0].data[1].dataset"]
    assert "text is no dataset of this project" in found["stages[0].data[1].dataset"]
    assert "no such version" in obstacles(project, tiny_stage(3, data=[{"dataset": "texts@4"}])).popitem()[1]


def test_rows_for_evaluation_only_are_not_trained_on_but_may_be_measured(project, researcher, texts):
    add_texts(project, slug="rulings", uses=("evaluate",), count=9)
    found = obstacles(project, tiny_stage(3, data=[{"dataset": "rulings"}]))
    assert "rulings@1 is for evaluation only and must not be trained on" in found["stages[0].data[0].dataset"]
    assert obstacles(project, tiny_stage(3, held_out=[{"dataset": "rulings"}])) == {}


def test_the_same_rows_under_two_names_are_not_held_out(project, texts):
    found = obstacles(project, tiny_stage(3, held_out=[{"dataset": "texts@1"}]))
    assert "very rows" in found["stages[0].held_out[0].dataset"]


def test_a_stage_refuses_rows_of_another_kind(project, texts):
    sft = {"kind": "sft", "data": [{"dataset": "texts"}], "steps": 2}
    found = obstacles(project, tiny_stage(3), {**sft, "sequence_length": 128})
    assert found == {
        "stages[1].data[0].dataset": "texts@1 holds text rows, and sft takes chat rows here; choose another dataset."
    }


def test_sequences_longer_than_the_context_are_refused_in_every_stage(project, texts):
    long = {**tiny_stage(3, sequence_length=129)}
    later = {key: value for key, value in tiny_stage(3, sequence_length=4096).items() if key != "initialise"}
    found = obstacles(project, long, later)
    assert list(found) == ["stages[0].sequence_length", "stages[1].sequence_length"]
    assert "use at most 128" in found["stages[1].sequence_length"]


def test_an_unknown_model_and_an_unknown_task_are_named(project, texts, tmp_path: Path):
    stages = {"kind": "evaluate", "tasks": ["exam"]}
    found = obstacles(project, stages, base="nobody")
    assert "nobody is no model of this project" in found["base"]
    assert "exam is no task of this project" in found["stages[0].tasks[0]"]
    Model.objects.create(
        project=project, slug="ours", origin=Origin.DIRECTORY, location=str(tmp_path / "gone"), sha256="0" * 64
    )
    assert "are gone from" in obstacles(project, stages, base="ours")["base"]
    assert "choose one of ours" in obstacles(project, stages, base="nobody")["base"]


def test_a_disk_with_too_little_room_refuses_the_launch(project, researcher, texts, settings):
    settings.MINIMUM_FREE_BYTES = 2**60
    with pytest.raises(LaunchRefused, match="free some space"):
        launch_tiny(project, researcher)
    assert not Run.objects.exists()


def test_rows_that_vanished_from_the_store_refuse_the_launch(project, texts):
    version_path(texts).rename(version_path(texts).with_suffix(".away"))
    try:
        assert "gone from the store" in obstacles(project, tiny_stage(3))["stages[0].data[0].dataset"]
    finally:
        version_path(texts).with_suffix(".away").rename(version_path(texts))
