"""`chanote task`: tasks of the library and of files, frozen in a project."""

import pytest
from django.core.exceptions import PermissionDenied

from chanote.boards.models import Task
from chanote.cli import build_parser
from chanote.commands.answers import CommandEnd
from trainer.contract.library import library_tasks

pytestmark = pytest.mark.django_db


def act(*words):
    args = build_parser().parse_args(list(words))
    return args.action(args)


def test_tasks_of_the_library_and_of_files_are_frozen_by_a_command(project, project_admin, version, tmp_path, capsys):
    words = ["--dataset", version.dataset.slug, "--as", "project-admin"]
    (added,) = act("task", "add", "gsm8k", *words)
    assert (added["name"], added["dataset"]) == ("gsm8k@1", version.reference)
    assert act("task", "add", "gsm8k", *words) == [added], "a definition that was frozen before gives that task"

    theirs = tmp_path / "theirs.yaml"
    theirs.write_text("task: theirs\ndataset_path: some/rows\ndoc_to_text: question\ndoc_to_target: answer\n", "utf-8")
    (added,) = act("task", "add", str(theirs), *words)
    assert (added["name"], added["metric"]) == ("theirs@1", "exact_match")
    assert f"Rows are those of {version.dataset.slug}: import some/rows" in capsys.readouterr().err
    assert {row["name"] for row in act("task", "list", "--as", "project-admin")} == {"gsm8k@1", "theirs@1"}
    assert {row["name"] for row in act("task", "library")} == set(library_tasks())

    theirs.write_text("task: theirs\nprocess_docs: !function a.b\n", "utf-8")
    for names, sentence in [
        ([str(theirs), *words], "!function a.b is a Python program"),
        (["nothing", *words], "nothing is neither a file nor a task of the library"),
        (["gsm8k", "--as", "project-admin"], "gsm8k-test is no dataset of this project"),
    ]:
        with pytest.raises(CommandEnd, match=sentence):
            act("task", "add", *names)
    assert Task.objects.count() == 2


def test_a_viewer_freezes_no_task(project, viewer, version):
    with pytest.raises(PermissionDenied):
        act("task", "add", "gsm8k", "--dataset", version.dataset.slug, "--as", viewer.username)
