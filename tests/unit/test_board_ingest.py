"""What a `task_scored` event leaves behind: a task, a model, an evaluation, a board, once each."""

import pytest
import torch
from safetensors.torch import save_file
from transformers import Qwen3Config

from chanote.boards.models import Board, Evaluation, Task
from chanote.boards.services import BoardError, record_task_scored
from chanote.datasets.models import Dataset, DatasetVersion
from chanote.models.models import Model
from chanote.recipes.models import Recipe, Revision
from chanote.runs.models import Attempt, Checkpoint, Run
from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample, TaskScored

pytestmark = pytest.mark.django_db

SPEC = TaskSpec(task="exam", dataset="exam@1", output_type="multiple_choice", metric="acc")
SAMPLES = "evaluations/stage-1-exam.jsonl"


@pytest.fixture
def base(project):
    return Model.objects.create(
        project=project,
        slug="tiny",
        origin="directory",
        location="tiny",
        sha256="b" * 64,
        parameters=254_000,
        licence="Apache-2.0",
    )


@pytest.fixture
def attempt(project, researcher, base, tmp_path):
    dataset = Dataset.objects.create(project=project, slug="exam", title="Exam", kind="choices")
    DatasetVersion.objects.create(dataset=dataset, number=1, sha256="d" * 64, rows=2, bytes=9, uses=["evaluate"])
    revision = Revision.objects.create(
        recipe=Recipe.objects.create(project=project, slug="teach", title="Teach"),
        number=1,
        yaml="",
        resolved={},
        sha256="r" * 64,
    )
    run = Run.objects.create(
        project=project,
        number=3,
        name="Teach the code",
        revision=revision,
        base=base,
        owner=researcher,
        snapshot={
            "tasks": {"exam": SPEC.model_dump(mode="json")},
            "datasets": {"exam@1": {"sha256": "d" * 64, "rows": 2, "kind": "choices", "path": "exam.jsonl"}},
        },
    )
    path = tmp_path / SAMPLES
    path.parent.mkdir()
    lines = [
        ScoredSample(item=f"n{n}", prompt="q", output="a", target="a", score=float(n), status="ok") for n in range(2)
    ]
    path.write_text("".join(line.model_dump_json() + "\n" for line in lines), "utf-8")
    return Attempt.objects.create(run=run, number=1, directory=str(tmp_path))


def event(**changes):
    return TaskScored(
        **{
            "stage": 1,
            "step": 40,
            "task": "exam",
            "board": "closed-book",
            "model_sha256": "c" * 64,
            "checkpoint_path": "checkpoints/step-000040",
            "samples_path": SAMPLES,
            "samples": 2,
            "mean": 0.5,
            "seconds": 3.5,
            **changes,
        }
    )


def save_checkpoint(attempt, tmp_path, *, files=True):
    """A checkpoint as the trainer leaves it, with the smallest model that has a config."""
    model = tmp_path / "checkpoints" / "step-000040" / "model"
    if files:
        model.mkdir(parents=True)
        Qwen3Config(hidden_size=8, num_hidden_layers=1, vocab_size=300, max_position_embeddings=64).save_pretrained(
            model
        )
        save_file({"weight": torch.zeros(3, 4)}, model / "model.safetensors")
        (model / "tokenizer.json").write_text("{}", "utf-8")
    return Checkpoint.objects.create(
        run=attempt.run,
        attempt=attempt,
        step=40,
        stage=0,
        directory="checkpoints/step-000040",
        sha256="c" * 64,
        bytes=7,
    )


@pytest.mark.parametrize("files", [True, False])
def test_an_event_puts_a_checkpoint_on_a_board_as_a_model_with_its_parent(attempt, base, tmp_path, files):
    checkpoint = save_checkpoint(attempt, tmp_path, files=files)
    evaluation = record_task_scored(attempt=attempt, event=event())
    assert (evaluation.count, evaluation.mean, evaluation.step, evaluation.seconds) == (2, 0.5, 40, 3.5)
    model = evaluation.model
    assert (model.slug, model.parent, model.licence) == ("teach-the-code-3-step-40", base, "Apache-2.0")
    checkpoint.refresh_from_db()
    assert checkpoint.model == (model if files else None)
    board = Board.objects.get(slug="closed-book")
    assert list(board.evaluations.all()) == [evaluation]
    assert board.baseline == base
    assert evaluation.task.reference == "exam@1"


def test_an_attempt_that_resumed_scores_the_checkpoint_of_the_one_before(attempt, tmp_path):
    save_checkpoint(attempt, tmp_path)
    attempt.state = "stopped"
    attempt.save()
    again = Attempt.objects.create(run=attempt.run, number=2, directory=str(tmp_path))
    first = record_task_scored(attempt=attempt, event=event())
    second = record_task_scored(attempt=again, event=event(checkpoint_path="elsewhere/step-000040"))
    assert second.model == first.model


def test_the_same_event_again_changes_nothing(attempt):
    first = record_task_scored(attempt=attempt, event=event())
    assert record_task_scored(attempt=attempt, event=event()) == first
    assert (Evaluation.objects.count(), Task.objects.count(), Board.objects.count(), Model.objects.count()) == (
        1,
        1,
        1,
        2,
    )
    assert first.samples.count() == 2


def test_without_a_checkpoint_the_base_was_scored(attempt, base):
    evaluation = record_task_scored(attempt=attempt, event=event(checkpoint_path="", step=0, model_sha256="b" * 64))
    assert evaluation.model == base


def test_without_a_board_the_score_stays_with_the_run(attempt):
    evaluation = record_task_scored(attempt=attempt, event=event(board=""))
    assert not evaluation.boards.exists()
    assert list(attempt.run.evaluations.all()) == [evaluation]


def test_the_scores_of_a_reproduction_stay_off_the_board(attempt):
    """The same checkpoint twice would be compared with itself, and every pair more costs the others certainty."""
    attempt.run.snapshot["reproduces"] = {"run": "x", "number": 2}
    evaluation = record_task_scored(attempt=attempt, event=event())
    assert not Board.objects.exists()
    assert list(attempt.run.evaluations.all()) == [evaluation]


def test_two_checkpoints_get_different_names(attempt):
    record_task_scored(attempt=attempt, event=event())
    other = record_task_scored(attempt=attempt, event=event(model_sha256="e" * 64))
    assert other.model.slug == "teach-the-code-3-step-40-2"


def test_a_task_that_the_run_never_froze_is_refused(attempt):
    with pytest.raises(BoardError, match="scored task other, which its frozen spec does not name"):
        record_task_scored(attempt=attempt, event=event(task="other"))
