"""Datasets, recipes, runs, metrics, boards and queue over REST, as a program uses them."""

import io
import json

import pytest
from django.test import Client

from chanote.accounts.services import create_token
from chanote.api.permissions import SCOPES
from chanote.boards.services import create_board, freeze_task, import_evaluation
from chanote.datasets.selectors import find_version
from chanote.models.models import Model
from chanote.recipes.services import save_revision
from chanote.runs.models import Attempt, MetricSeries, OutboxMessage, Run, RunEvent, State
from trainer.contract import TaskSpec

LAW = "/api/v1/projects/law"
TEXT = "base: tiny\nstages:\n  - {kind: sft, steps: 5, data: [{dataset: talk}]}\n"
CHAT = b'{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}\n'


class Api:
    """A program with a token."""

    def __init__(self, user) -> None:
        _, text = create_token(user, "program", list(SCOPES), 30)
        self.client = Client(headers={"Authorization": f"Bearer {text}"})

    def get(self, path: str, **query):
        return self.client.get(LAW + path, query)

    def post(self, path: str, body=None, **headers):
        return self.client.post(LAW + path, json.dumps(body), content_type="application/json", headers=headers)

    def upload(self, content: bytes = CHAT, name: str = "talk.jsonl", **fields):
        file = io.BytesIO(content)
        file.name = name
        data = {"slug": "talk", "kind": "chat", "file": file} | fields
        return self.client.post(f"{LAW}/datasets/", data)


@pytest.fixture
def api(researcher):
    return Api(researcher)


@pytest.fixture
def ready(api, project, researcher, tmp_path):
    """A recipe that can be launched."""
    assert api.upload().status_code == 201
    Model.objects.create(project=project, slug="tiny", origin="directory", location=str(tmp_path), sha256="0" * 64)
    return save_revision(project=project, slug="mine", yaml=TEXT, author=researcher)


def make_run(revision, number: int, **more) -> Run:
    return Run.objects.create(
        project=revision.project, number=number, name=f"run {number}", revision=revision, snapshot={}, **more
    )


def test_a_dataset_is_imported_listed_and_read_row_by_row(api):
    answer = api.upload(CHAT * 3, uses=["train", "evaluate"], licence="CC0-1.0")
    assert answer.status_code == 201
    assert answer.json()["reference"] == "talk@1"
    assert answer.json()["uses"] == ["train", "evaluate"]
    assert answer["Location"].endswith("/datasets/talk/versions/1/")
    (listed,) = api.get("/datasets/").json()["results"]
    assert (listed["slug"], listed["newest"]["rows"]) == ("talk", 3)
    page = api.get("/datasets/talk/versions/1/rows/", start=1, limit=1).json()
    assert page["total"] == 3
    assert page["rows"][0]["number"] == 2
    assert page["rows"][0]["content"]["messages"][1]["content"] == "!"
    assert page["next_start"] == 2
    assert api.get("/datasets/talk/versions/1/rows/", start=3).json()["rows"] == []


def test_the_same_rows_again_make_no_version(api):
    api.upload()
    again = api.upload()
    assert (again.status_code, again.json()["number"]) == (200, 1)


def test_bad_rows_are_named_and_nothing_is_imported(api):
    answer = api.upload(CHAT + b'{"messages": []}\n')
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["field"] == "rows[2]"
    assert api.get("/datasets/").json()["results"] == []


def test_a_broken_header_line_is_refused_in_a_sentence(api):
    answer = api.upload(b"\xff\xfe\x00,b\n1,2\n", name="talk.csv", kind="text")
    assert answer.status_code == 422
    assert "UTF-8" in answer.json()["detail"]


def test_a_large_query_number_is_refused_not_a_failure(api):
    api.upload()
    assert api.get("/datasets/talk/versions/1/rows/", start=10**30).status_code == 400
    assert api.get(f"/datasets/talk/versions/{10**30}/").status_code == 404
    assert api.get("/datasets/", page_size=0).status_code == 400
    assert api.get("/datasets/", cursor="nonsense").status_code == 404


def test_a_recipe_is_checked_saved_and_revised(api, ready):
    checked = api.post("/check-recipe/", {"yaml": TEXT.replace("talk", "walk")}).json()
    assert (checked["valid"], checked["ready"]) == (True, False)
    assert checked["problems"][0]["field"] == "stages[0].data[0].dataset"
    made = api.post("/recipes/", {"slug": "second", "yaml": TEXT})
    assert made.status_code == 201
    assert made.json()["resolved"]["stages"][0]["batch_size"] == 8
    same = api.post("/recipes/second/revisions/", {"yaml": TEXT})
    assert (same.status_code, same.json()["number"]) == (200, 1)
    changed = api.post("/recipes/second/revisions/", {"yaml": TEXT.replace("5", "6"), "message": "more"})
    assert (changed.status_code, changed.json()["number"]) == (201, 2)
    numbers = [one["number"] for one in api.get("/recipes/second/revisions/").json()["results"]]
    assert numbers == [2, 1]


def test_a_launch_freezes_queues_and_is_not_repeated(api, ready):
    body = {"recipe": "mine", "name": "by program", "seed": 7}
    answer = api.post("/runs/", body, **{"Idempotency-Key": "a"})
    run = answer.json()
    assert answer.status_code == 201
    assert (run["number"], run["state"], run["seed"], run["revision"]) == (1, "queued", 7, 1)
    assert run["queue_position"] == 1
    assert run["snapshot"]["recipe"]["stages"][0]["data"][0]["dataset"] == "talk@1"
    assert api.post("/runs/", body, **{"Idempotency-Key": "a"}).json()["number"] == 1
    assert (Run.objects.count(), Attempt.objects.count(), OutboxMessage.objects.count()) == (1, 1, 1)
    queue = api.get("/queue/").json()
    assert queue["waiting"][0]["run"]["name"] == "by program"


def test_a_launch_that_cannot_run_names_every_obstacle(api, ready, project):
    Model.objects.all().delete()
    answer = api.post("/runs/", {"recipe": "mine"})
    assert answer.status_code == 422
    assert [problem["field"] for problem in answer.json()["problems"]] == ["base"]
    assert api.post("/runs/", {"recipe": "nothing"}).json()["problems"][0]["field"] == "recipe"
    assert not Run.objects.exists()


def test_a_waiting_run_is_cancelled_once(api, ready):
    api.post("/runs/", {"recipe": "mine"})
    assert api.post("/runs/1/stop/").status_code == 409
    assert api.post("/runs/1/cancel/", {"reason": "no"}).json()["state"] == "cancelled"
    again = api.post("/runs/1/cancel/", {})
    assert again.status_code == 409
    assert "has ended" in again.json()["detail"]
    retried = api.post("/runs/1/retry/", **{"Idempotency-Key": "r"})
    assert len(retried.json()["attempts"]) == 2
    assert len(api.post("/runs/1/retry/", **{"Idempotency-Key": "r"}).json()["attempts"]) == 2
    assert Attempt.objects.count() == 2


def test_pages_stay_stable_while_runs_arrive(api, ready):
    for number in range(1, 6):
        make_run(ready, number)
    first = api.get("/runs/", page_size=2).json()
    make_run(ready, 6)
    second = api.client.get(first["next"]).json()
    make_run(ready, 7)
    third = api.client.get(second["next"]).json()
    seen = [run["number"] for page in (first, second, third) for run in page["results"]]
    assert seen == [5, 4, 3, 2, 1]
    assert third["next"] is None


def test_runs_are_filtered_by_state(api, ready):
    make_run(ready, 1, state=State.FINISHED)
    make_run(ready, 2, state=State.FAILED)
    assert [run["number"] for run in api.get("/runs/", state="failed").json()["results"]] == [2]
    assert api.get("/runs/", state="unheard").status_code == 400


def test_metrics_are_sent_once_and_read_as_a_curve(api, ready):
    make_run(ready, 1, state=State.FINISHED)
    batch = {"batch": "first", "series": {"mine/loss": {"steps": [1, 2, 3], "values": [3.0, "NaN", 1.0]}}}
    assert api.post("/runs/1/metrics/", batch).json() == {"stored": 3}
    assert api.post("/runs/1/metrics/", batch).json() == {"stored": 0}
    assert MetricSeries.objects.get().points == 3
    (curve,) = api.get("/runs/1/curves/", key="mine/loss").json()["curves"]
    assert curve["steps"] == [1, 2, 3]
    assert curve["mean"] == [3.0, None, 1.0]
    assert curve["broken"] == [1]
    assert api.get("/runs/1/metrics/").json()["results"][0]["last_value"] == 1.0
    assert api.get("/runs/1/curves/", points=0).status_code == 400


def test_metrics_that_make_no_sense_are_refused_in_the_common_form(api, ready):
    make_run(ready, 1)
    answer = api.post("/runs/1/metrics/", {"batch": "b", "series": {"a": {"steps": [1], "values": []}}})
    assert answer.status_code == 400
    assert "series.a: steps and values must be lists of equal length" in answer.json()["detail"]


def test_metrics_ask_for_token_scope_role_and_project(ready, viewer, stranger, researcher, client):
    make_run(ready, 1)
    path, body = f"{LAW}/runs/1/metrics/", json.dumps({"batch": "x", "series": {"a": {"steps": [1], "values": [1]}}})

    def send(user=None, scopes=("runs:write",)):
        headers = {}
        if user is not None:
            _, text = create_token(user, f"{user} {scopes}", list(scopes), 1)
            headers["Authorization"] = f"Bearer {text}"
        return client.post(path, body, content_type="application/json", headers=headers).status_code

    assert send() == 401
    assert send(stranger) == 404
    assert send(viewer) == 403
    assert send(researcher, scopes=("runs:read",)) == 403
    assert send(researcher) == 200


def test_events_and_logs_are_read_on_from_where_one_stopped(api, ready, tmp_path):
    run = make_run(ready, 1)
    attempt = Attempt.objects.create(run=run, number=1, directory=str(tmp_path), state=State.FAILED)
    for seq in range(3):
        RunEvent.objects.create(attempt=attempt, seq=seq, at=run.created, type="stage_started", payload={"n": seq})
    page = api.get("/runs/1/events/", page_size=2).json()
    assert [event["seq"] for event in page["results"]] == [0, 1]
    assert [event["seq"] for event in api.client.get(page["next"]).json()["results"]] == [2]
    (tmp_path / "stderr.log").write_text("one\ntwo\n")
    log = api.get("/runs/1/logs/").json()
    assert log["lines"] == ["one", "two"]
    with (tmp_path / "stderr.log").open("a") as file:
        file.write("three\nfo")
    assert api.get("/runs/1/logs/", offset=log["offset"]).json()["lines"] == ["three"]


def test_a_board_comes_with_intervals_verdicts_and_samples(api, ready, project, researcher, tmp_path):
    api.upload(b'{"question": "1+1?", "answer": "2"}\n', name="asked.jsonl", slug="asked", kind="prompts")
    spec = TaskSpec(task="exam", dataset="asked@1", output_type="generate_until", metric="exact_match")
    frozen = api.post("/tasks/", {"definition": spec.model_dump(mode="json")})
    assert frozen.json()["reference"] == "exam@1"
    assert api.post("/tasks/", {"definition": {"task": "x"}}).status_code == 422
    assert api.post("/boards/", {"slug": "first", "title": "First"}).status_code == 201
    assert api.post("/boards/", {"slug": "first"}).status_code == 422
    task = freeze_task(
        project=project, definition=spec, dataset_version=find_version(project, "asked@1"), actor=researcher
    )
    sample = {"prompt": "?", "output": "2", "target": "2", "status": "ok"}
    samples = tmp_path / "samples.jsonl"
    lines = [json.dumps(sample | {"item": str(n), "score": float(n < 6)}) for n in range(8)]
    samples.write_text("\n".join(lines) + "\n")
    board = create_board(project=project, slug="second", actor=researcher)
    evaluation = import_evaluation(
        task=task, model=Model.objects.get(), samples_path=samples, board=board, actor=researcher
    )
    (table,) = api.get("/boards/second/").json()["tables"]
    (row,) = table["models"]
    assert (row["model"], row["items"], row["estimate"]) == ("tiny", 8, 0.75)
    assert row["low"] < 0.75 < row["high"]
    assert [one["count"] for one in api.get("/evaluations/", board="second").json()["results"]] == [8]
    page = api.get(f"/evaluations/{evaluation.pk}/samples/", page_size=3).json()
    assert [one["item"] for one in page["results"]] == ["0", "1", "2"]


def test_a_model_is_registered_only_from_a_checkpoint(api, tmp_path):
    answer = api.post("/models/", {"slug": "nothing", "path": str(tmp_path / "none")})
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["field"] == "path"
    unknown = api.post("/models/", {"slug": "x", "path": str(tmp_path), "parent": "nobody"})
    assert unknown.json()["problems"][0]["field"] == "parent"
