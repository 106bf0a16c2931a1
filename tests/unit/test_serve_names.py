"""What `chanote serve` finds by the platform's names, and how it calls the trainer."""

from pathlib import Path

import pytest
from django.core.exceptions import PermissionDenied
from run_rows import make_run, save_checkpoint

from chanote.accounts.models import User
from chanote.chat.serving import NotServable, find_servable, serve_command
from chanote.cli import build_parser
from chanote.commands.answers import NOT_FOUND, CommandEnd
from chanote.models.models import Model

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(project, tmp_path: Path):
    made = make_run(project, number=7, state="finished", step=8)
    for step in (4, 8):
        folder = tmp_path / f"step-{step}"
        (folder / "model").mkdir(parents=True)
        (folder / "model/config.json").write_text("{}")
        save_checkpoint(made, step, folder)
    return made


@pytest.mark.parametrize(("text", "step"), [("7", 8), ("7@4", 4), ("7@8", 8), ("NAME", 8), ("NAME@4", 4)])
def test_a_checkpoint_is_found_by_run_and_step(run, project, tmp_path, text, step):
    found = find_servable(project, text.replace("NAME", run.name))
    assert found.checkpoint is not None
    assert found.checkpoint.step == step
    assert found.directory == tmp_path / f"step-{step}/model"
    assert found.name.endswith(f"-step-{step}")


def test_a_model_is_found_before_a_run(run, project, tmp_path):
    model = Model.objects.create(
        project=project, slug="7", origin="directory", location=str(tmp_path / "step-4/model"), sha256="0" * 64
    )
    assert find_servable(project, "7").model == model


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("7@5", "no checkpoint of step 5 that is kept; there are those of step 8, 4."),
        ("7@x", "no checkpoint of step x"),
        ("9", "neither a model nor a run named 9"),
        ("", "neither a model nor a run named"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(run, project, text, words):
    with pytest.raises(NotServable, match=words):
        find_servable(project, text)


def test_files_that_are_gone_are_said(run, project, tmp_path):
    (tmp_path / "step-8/model/config.json").unlink()
    with pytest.raises(NotServable, match="are gone; choose another checkpoint"):
        find_servable(project, "7")


def test_a_policy_that_never_was_told_of_tools_is_served_so(run, project):
    run.snapshot = {**run.snapshot, "recipe": {"stages": [{"kind": "agentic_rft", "tell_tools": False}]}}
    run.save()
    run.checkpoints.update(stage=0)
    command = serve_command(
        find_servable(project, "7"), host="127.0.0.1", port=0, token_file=Path("/key"), engine="auto", more=[]
    )
    assert command[-1] == "--untold-tools"
    assert "--end-with-input" in command


def test_who_may_not_is_refused_and_what_is_missing_is_not_found(run, researcher, curator):
    def act(*words: str) -> None:
        args = build_parser().parse_args(["serve", *words])
        args.action(args)

    User.objects.create(username="root", is_superuser=True)
    with pytest.raises(PermissionDenied, match="does not allow you to serve models"):
        act("7", "--as", "curator")
    with pytest.raises(CommandEnd) as end:
        act("nothing", "--as", "researcher")
    assert end.value.code == NOT_FOUND
