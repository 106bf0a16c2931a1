"""Result files of other harnesses on a board: imported once, kept byte for byte, compared honestly."""

import json
import math
import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from chanote.audit.models import AuditEvent
from chanote.boards.imports import file_path, import_results
from chanote.boards.models import Evaluation, ImportedFile, Sample, Task
from chanote.boards.selectors import describe_board, read_board
from chanote.boards.services import BoardError, create_board
from chanote.cli import main
from chanote.models.models import Model
from chanote.recipes.forms.options import read_options
from chanote.runs.freezing import find_task
from tests import harness_files as files

pytestmark = pytest.mark.django_db

SAMPLES = "samples_gsm8k_2026-01-02T03-04-05.678901.jsonl"


@pytest.fixture(autouse=True)
def plain_static(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    settings.HOME = tmp_path / "home"
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture
def board(project):
    return create_board(project=project, slug="outside", title="Outside")


@pytest.fixture
def browser(client_of, researcher):
    return client_of(researcher)


def text_of(answer):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.content.decode()))


def right(share, count=100):
    return [1.0 if number < share else 0.0 for number in range(count)]


def post(browser, board, data, *, name=SAMPLES, **fields):
    beside = fields.pop("beside", None)
    body = {"board": board.pk, "file": SimpleUploadedFile(name, data), **fields}
    if beside:
        body["beside"] = SimpleUploadedFile("results_x.json", beside)
    return browser.post(reverse("boards:import", args=["law"]), body)


def test_two_files_become_an_honest_tie(browser, board):
    for name, share in (("Org/Model-A", 61), ("Org/Model-B", 58)):
        assert post(browser, board, files.lm_eval_samples(right(share)), model=name).status_code == 302
    answer = browser.get(reverse("boards:board", args=["law", "outside"]))
    text = text_of(answer)
    assert "Undecided: 100 items do not separate org-model-a and org-model-b" in text
    assert [row.entry.letters for row in answer.context["page"].rows] == ["a", "a"]
    assert answer.content.count(b"<b title=") == 0
    # And down to the items that only one of them has right.
    pair = browser.get(
        reverse("boards:samples", args=["law", "outside"]), {"a": "org-model-a", "b": "org-model-b", "cell": "only_a"}
    )
    assert "Question: q58" in text_of(pair)
    assert "Question: q57" not in text_of(pair)


def test_the_same_file_again_changes_nothing(browser, board, project):
    data = files.lm_eval_samples(right(50))
    first = post(browser, board, data, model="m")
    again = post(browser, board, data, model="another")
    assert first["Location"] == again["Location"]
    assert (ImportedFile.objects.count(), Evaluation.objects.count(), Sample.objects.count()) == (1, 1, 100)
    other = create_board(project=project, slug="second")
    post(browser, other, data)
    assert Evaluation.objects.get().boards.count() == 2
    assert not Model.objects.filter(slug="another").exists()
    assert AuditEvent.objects.filter(verb="results.imported").count() == 1


def test_the_bytes_are_kept_as_they_came(browser, board):
    data = files.lm_eval_samples(right(50))
    made = post(browser, board, data, model="m")
    file = ImportedFile.objects.get()
    assert file_path(file.sha256).read_bytes() == data
    assert b"".join(browser.get(f"{made['Location']}original/").streaming_content) == data


def test_what_was_skipped_and_what_the_harness_states_is_shown(browser, board):
    data = files.lm_eval_samples(right(70)) + b"torn\n"
    error = math.sqrt(0.7 * 0.3 / 99)
    made = post(browser, board, data, beside=files.lm_eval_results("gsm8k", 0.7, error))
    text = text_of(browser.get(made["Location"]))
    assert "line 101: no JSON" in text
    assert f"standard error {error:.6f}, as the harness states it." in text
    assert "org-model-8b" in text
    (table,) = describe_board(read_board(board))
    assert table["models"][0]["standard_error"] == pytest.approx(error, abs=1e-6)


def test_a_file_that_names_no_model_or_is_none_says_so_and_leaves_nothing(browser, board):
    nameless = post(browser, board, files.lm_eval_samples(right(50)))
    assert nameless.status_code == 422
    assert "does not name its model" in text_of(nameless)
    strange = post(browser, board, b'{"a": 1}', name="x.json", model="m")
    assert "is none of the formats that can be imported" in text_of(strange)
    assert not ImportedFile.objects.exists()
    assert not Task.objects.exists()
    assert not Model.objects.exists()


def test_scores_on_another_scale_are_left_out_and_told(board):
    rows = [{"doc_id": n, "filter": "none", "metrics": ["acc", "bleu"], "acc": 1.0, "bleu": 40.5} for n in range(3)]
    made = import_results(board=board, name=SAMPLES, data=files.lines(rows), model="m")
    assert made.skipped == ["bleu: scores such as 40.5 do not lie between 0 and 1"]
    assert [one.task.slug for one in made.evaluations.all()] == ["gsm8k-acc"]
    only = [{**row, "metrics": ["bleu"]} for row in rows]
    with pytest.raises(BoardError, match=r"bleu: scores such as 40\.5"):
        import_results(board=board, name=SAMPLES, data=files.lines(only), model="m")


def test_results_of_other_settings_are_another_task(board):
    for number, shots in enumerate((5, 0)):
        beside = json.loads(files.lm_eval_results("gsm8k", 0.5, "N/A"))
        beside["n-shot"]["gsm8k"] = shots
        data = files.lm_eval_samples(right(50 + number))
        import_results(board=board, name=SAMPLES, data=data, beside=json.dumps(beside).encode())
    assert sorted(Task.objects.values_list("number", flat=True)) == [1, 2]


def test_a_task_of_imported_results_can_be_read_but_not_run(browser, board, project):
    import_results(board=board, name="judgment.jsonl", data=files.mt_bench([(9, 7), (8, -1), (3, 4)]))
    task = Task.objects.get()
    page = text_of(browser.get(reverse("boards:task", args=["law", task.slug, 1])))
    assert "known by results that another harness has written" in page
    assert "local-judge" in page
    assert "imported results" in text_of(browser.get(reverse("boards:list", args=["law"])))
    with pytest.raises(Task.DoesNotExist):
        find_task(project, task.slug)
    assert read_options(project).tasks == []
    known = text_of(browser.get(reverse("model", args=["law", "org-model-8b"])))
    assert "This model is known by imported results only." in known
    (model,) = describe_board(read_board(board))[0]["models"]
    # Two turns are one conversation, and the judge's failure counts for nobody.
    assert (model["items"], model["clusters"], model["left_out"]) == (5, 3, 1)


def test_only_those_who_may_change_boards_import(client_of, viewer, board):
    assert post(client_of(viewer), board, files.lm_eval_samples(right(5)), model="m").status_code == 403


def test_the_command_line_imports_as_the_page_does(board, researcher, tmp_path, capsys):
    path = tmp_path / SAMPLES
    path.write_bytes(files.lm_eval_samples(right(50)))
    words = ["--project", "law", "--as", "researcher", "--json"]
    assert main(["board", "import", "outside", str(path), "--model", "m", *words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["format"], told["tasks"], told["models"]) == (
        "lm_eval",
        ["gsm8k-exact_match-strict-match@1"],
        ["m"],
    )
    assert main(["board", "import", "outside", str(tmp_path / "nothing"), *words]) != 0
    assert "cannot be read" in json.loads(capsys.readouterr().out)["error"]
