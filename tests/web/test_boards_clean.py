"""Items that stand in training data can be left out of a board; what was not checked is said to be so."""

import csv
import io
import json

import pytest
from checked_rows import check, take
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from run_rows import make_run, save_checkpoint

from chanote.boards.cleaning import Clean, find_cleaning, find_items
from chanote.boards.models import Standing
from chanote.boards.selectors import describe_board, latest_evaluations, read_board
from chanote.boards.services import create_board, freeze_task, import_evaluation
from chanote.boards.snapshots import freeze_board
from chanote.boards.training_data import trace_data
from chanote.models.models import Model
from chanote.rights.terms import trace_terms
from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_home")]

WORDS = (
    "A tenant who does not pay the rent for two months in a row may be given notice by the landlord in writing",
    "The goods of a married couple that were bought during the marriage belong to both of them in equal shares",
    "Whoever finds a lost thing must hand it to the police or to its owner within three days of finding it there",
    "A company that exports printed cloth may have the tax that it paid for its machines given back to it in cash",
)
PAGE = reverse("boards:board", args=["law", "main"])


@pytest.fixture
def world(project, tmp_path):
    """Sixty questions, four of them long; a model whose run read two of these, and one from outside."""
    rows = [
        {"id": f"q{number}", "question": WORDS[number] if number < 4 else f"Number {number}?", "answer": "yes"}
        for number in range(60)
    ]
    exam = take(project, "exam", rows, kind="prompts", uses=["evaluate"])
    spec = TaskSpec(task="exam", dataset="exam@1", output_type="generate_until", metric="exact_match")
    task = freeze_task(project=project, definition=spec, dataset_version=exam)
    laws = take(project, "laws", [{"text": f"In class we read: {WORDS[0]}."}, {"text": WORDS[1]}])
    run = make_run(project, state="finished")
    run.snapshot = {
        "recipe": {"stages": [{"kind": "cpt", "data": [{"dataset": "laws@1"}]}]},
        "datasets": {"laws@1": {"sha256": laws.sha256, "rows": 2}},
    }
    run.save()
    trained = Model.objects.create(project=project, slug="trained", origin="run", location="x", sha256="c" * 64)
    checkpoint = save_checkpoint(run, 10)
    type(checkpoint).objects.filter(pk=checkpoint.pk).update(model=trained, sha256=trained.sha256, stage=0)
    board = create_board(project=project, slug="main", title="Main")
    outside = Model.objects.create(project=project, slug="outside", origin="directory", location="y", sha256="d" * 64)
    score(tmp_path, task, board, trained, [1.0] * 20 + [0.0] * 40)
    score(tmp_path, task, board, outside, [0.0] * 4 + [1.0] * 16 + [0.0] * 40)
    return {"task": task, "laws": laws, "board": board, "exam": exam, "tmp": tmp_path, "run": run}


def score(folder, task, board, model, scores):
    path = folder / f"{model.slug}-{task.slug}.jsonl"
    lines = [
        ScoredSample(
            item=f"q{number}", prompt="?", output="", target="yes", score=value, status="ok" if number else "truncated"
        ).model_dump_json()
        for number, value in enumerate(scores)
    ]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return import_evaluation(task=task, model=model, samples_path=path, board=board)


def models_of(board, clean=Clean.ALL):
    (table,) = describe_board(read_board(board, clean=clean))
    return {one["model"]: one for one in table["models"]}, table


def test_without_a_check_nothing_is_left_out_and_nobody_is_called_clean(world, browser):
    page = browser.get(f"{PAGE}?clean=questions").content.decode()
    assert "Not checked: no data of these models was held against this task, so nothing is left out." in page
    assert "chanote dataset check laws@1 --only overlap" in page
    assert "/p/law/datasets/laws/?version=1&amp;tab=checks" in page
    told, table = models_of(world["board"], Clean.QUESTIONS)
    assert (table["clean"]["checked"], table["clean"]["left_out"]) == (False, 0)
    assert [one["dataset"] for one in table["clean"]["not_checked"]] == ["laws@1"]
    assert told["trained"]["items"] == 60


def test_everything_is_worked_out_again_on_what_no_model_has_read(world, browser):
    check(world["laws"], "overlap", world["tmp"])
    before, _ = models_of(world["board"])
    after, table = models_of(world["board"], Clean.QUESTIONS)
    assert (before["trained"]["estimate"], before["trained"]["failed_share"]) == (20 / 60, 1 / 60)
    assert (after["trained"]["estimate"], after["trained"]["items"]) == (18 / 58, 58)
    assert after["trained"]["failed_share"] == 0
    # Held against the same items, though its own data are not known.
    assert (after["outside"]["estimate"], after["outside"]["items"]) == (16 / 58, 58)
    assert table["comparisons"][0]["only_a"] == 2
    assert table["clean"]["checks"] == [
        {"dataset": "laws@1", "question_held": 2, "source_held": 0, "own_rows": False, "models": ["trained"]}
    ]
    assert [one["model"] for one in table["clean"]["data_unknown"]] == ["base-model", "outside"]
    page = browser.get(f"{PAGE}?clean=questions").content.decode()
    assert "2 of 60 items are left out: 2 whose question or answer is in training data." in page
    assert "/p/law/datasets/laws/1/checks/overlap/" in page
    assert "data of outside" in page


def test_the_clean_board_is_kept_like_the_other(world, browser):
    check(world["laws"], "overlap", world["tmp"])
    browser.get(PAGE)
    browser.get(f"{PAGE}?clean=questions")
    assert Standing.objects.count() == 2
    with CaptureQueriesContext(connection) as caught:
        browser.get(f"{PAGE}?clean=questions")
    assert not [one for one in caught if "boards_sample" in one["sql"] or '"boards_evaluation"."scores"' in one["sql"]]
    # Another model, with data of its own, asks no more queries.
    more = Model.objects.create(
        project=world["task"].project, slug="more", origin="directory", location="z", sha256="e"
    )
    score(world["tmp"], world["task"], world["board"], more, [1.0] * 60)
    browser.get(f"{PAGE}?clean=questions")
    with CaptureQueriesContext(connection) as again:
        browser.get(f"{PAGE}?clean=questions")
    assert len(again) == len(caught)


def test_a_law_that_was_read_is_left_out_only_where_that_is_asked(world):
    passage = (
        "If the tenant pays no rent the landlord may end the contract, yet where rent is paid by the month or by a"
        " longer time he must first give notice"
    )
    rows = [{"id": "law", "question": WORDS[2], "answer": "yes", "context": passage}]
    rows += [{"id": f"n{number}", "question": f"Number {number}?", "answer": "yes"} for number in range(20)]
    project = world["task"].project
    version = take(project, "open", rows, kind="prompts", uses=["evaluate"])
    spec = TaskSpec(task="open", dataset="open@1", output_type="generate_until", metric="exact_match")
    freeze_task(project=project, definition=spec, dataset_version=version)
    told = find_items(["law", "n1#2", "n2/part", "n3#1/part", "other"], {"law", "n1", "n2", "n3"})
    assert told == {"law", "n1#2", "n2/part", "n3#1/part"}
    laws = take(project, "codes", [{"text": passage, "law_name": "Code", "section_num": "1"}])
    check(laws, "overlap", world["tmp"])
    world["run"].snapshot["recipe"]["stages"][0]["data"].append({"dataset": "codes@1"})
    world["run"].snapshot["datasets"]["codes@1"] = {"sha256": laws.sha256, "rows": 1}
    world["run"].save()
    task = project.tasks.get(slug="open")
    lines = [ScoredSample(item=row["id"], prompt="?", output="", target="", score=1.0, status="ok") for row in rows]
    path = world["tmp"] / "open.jsonl"
    path.write_text("".join(line.model_dump_json() + "\n" for line in lines), "utf-8")
    import_evaluation(task=task, model=project.models.get(slug="trained"), samples_path=path, board=world["board"])
    found = find_cleaning(latest_evaluations(world["board"]), Clean.SOURCES)
    assert found.tasks[task].source == {"law"}
    assert found.left_out(task) == {"law"}
    assert find_cleaning(latest_evaluations(world["board"]), Clean.QUESTIONS).left_out(task) == frozenset()


def test_a_model_that_was_trained_on_the_task_itself_leaves_nothing(world, browser):
    world["run"].snapshot["datasets"]["laws@1"]["sha256"] = world["exam"].sha256
    world["run"].save()
    told, table = models_of(world["board"], Clean.QUESTIONS)
    assert (told["trained"]["estimate"], told["trained"]["items"]) == (None, 0)
    assert table["clean"]["checks"][0]["own_rows"] is True
    assert table["comparisons"][0]["verdict"] == "undefined"
    assert "the task&#x27;s own rows" in browser.get(f"{PAGE}?clean=questions").content.decode().replace("'", "&#x27;")


def test_exports_snapshots_and_rest_say_what_was_left_out(world, browser):
    check(world["laws"], "overlap", world["tmp"])
    rows = list(csv.DictReader(io.StringIO(browser.get(f"{PAGE}table.csv?clean=questions").content.decode())))
    assert {(one["clean"], one["items_not_clean"], one["checked"], one["items"]) for one in rows} == {
        ("questions", "2", "yes", "58")
    }
    told = browser.get("/api/v1/projects/law/boards/main/?clean=questions").json()["tables"][0]
    assert (told["clean"]["left_out"], told["models"][0]["items"]) == (2, 58)
    assert browser.get("/api/v1/projects/law/boards/main/?clean=nonsense").status_code == 400
    assert browser.get(f"{PAGE}?clean=nonsense").status_code == 404
    made = freeze_board(world["board"], clean=Clean.QUESTIONS)
    base = f"{PAGE}snapshots/{made.number}/"
    assert json.loads(browser.get(f"{base}table.json").content)["clean"] == "questions"
    sentence = "2 of 60 items are left out, whose question or answer is in training data."
    assert sentence in browser.get(base).content.decode()
    assert sentence in browser.get(f"{base}table.tex").content.decode().replace("\\", "")
    posted = browser.post(f"{PAGE}snapshots/", {"reason": "", "items": "questions"})
    assert posted.status_code == 302
    pair = browser.get(f"{PAGE}pair/?a=trained&b=outside&clean=questions").content.decode()
    assert "same 58 items" in pair


def test_training_data_of_many_models_are_those_of_each(world):
    project = world["task"].project
    parent = project.models.get(slug="trained")
    Model.objects.create(project=project, slug="child", origin="directory", location="c", sha256="f", parent=parent)
    Model.objects.create(project=project, slug="copy", origin="directory", location="d", sha256=parent.sha256)
    models = list(project.models.all())
    for model in models:
        one = trace_data(models)[model.pk]
        assert set(one.versions) == {version.pk for version in trace_terms(model).data}, model.slug
    with CaptureQueriesContext(connection) as caught:
        trace_data(models)
    assert len(caught) <= 10
    assert trace_data([project.models.get(slug="child")])[project.models.get(slug="child").pk].outside == {
        "child",
        "base-model",
    }
