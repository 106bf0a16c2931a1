"""Labels as dataset versions: what rows hold, where they come from, what may be done with them."""

import json

import pytest
from django.test import Client

from chanote.accounts.services import create_token
from chanote.audit.models import AuditEvent
from chanote.datasets.errors import ImportRefused
from chanote.datasets.models import Dataset, DatasetVersion
from chanote.datasets.storage import open_rows
from chanote.review.conversations import parse_chatml, split_answers
from chanote.review.exporting import export_labels
from chanote.review.models import LabelExport
from chanote.review.services import set_label
from chanote.runs.models import Attempt, RolloutFile
from tests.review_rows import ask, import_questions, make_odd_run
from tests.rollout_rows import store_step
from tests.run_rows import save_checkpoint

pytestmark = pytest.mark.django_db
URL = "/p/law/review/labels/"


@pytest.fixture
def run(project, researcher, tmp_path):
    return make_odd_run(project, researcher, tmp_path)


@pytest.fixture
def client(researcher, client_of):
    return client_of(researcher)


@pytest.fixture
def label(run, researcher):
    def give(place: str, word: str, note: str = "", *, actor=researcher, step: int = 1):
        group, index = map(int, place.split("."))
        return set_label(run=run, step=step, group=group, index=index, label=word, note=note, actor=actor)

    return give


def export(client, **fields):
    return client.post(URL, {"slug": "rollout-labels", "kind": "chat", "labels": ["good"], **fields})


def newest() -> DatasetVersion:
    return LabelExport.objects.first().version


def test_good_rollouts_become_a_conversation_with_everything_said_of_it(run, client, label, curator):
    save_checkpoint(run, 1)
    store_step(run, 2, [ask(4, 0, text="Forty-two.", reward=1.0)])
    label("4.0", "good", "Short and right.", step=2)
    label("4.0", "good", actor=curator, step=2)
    label("0.0", "hacked")
    assert export(client)["Location"] == "/p/law/datasets/rollout-labels/"
    version = newest()
    (row,) = open_rows(version)
    assert row["messages"] == [
        {"role": "user", "content": "Question 4?"}, {"role": "assistant", "content": "Forty-two."},
    ]  # fmt: skip
    assert row["label"] == "good"
    assert [(one["label"], one["note"], one["by"]) for one in row["labels"]] == [
        ("good", "Short and right.", "researcher"), ("good", "", "curator"),
    ]  # fmt: skip
    assert row["rollout"] == {
        "run": 1, "run_id": str(run.pk), "attempt": 1, "step": 2, "group": 4, "index": 0, "row": "questions@1#4",
        "policy": f"after the checkpoint of step 1, sha256 {'c' * 64}",
    }  # fmt: skip
    assert (version.licence, version.uses, version.non_commercial) == ("CC-BY-4.0", ["train", "evaluate"], False)
    for part in ("run 1 (law-1", "step 2", "checkpoint of step 1", "by curator, researcher", "questions@1"):
        assert part in version.source
    assert AuditEvent.objects.get(verb="labels.exported").detail == {"labels": 2, "runs": [1]}


def test_before_the_first_checkpoint_the_base_model_is_named(client, label):
    label("1.0", "good")
    export(client)
    (row,) = open_rows(newest())
    assert row["rollout"]["policy"] == f"after base-model, sha256 {'b' * 64}"


def test_rows_with_another_label_than_good_may_not_be_trained_on(client, label, curator):
    label("1.0", "good")
    label("1.0", "wrong", actor=curator)
    export(client)
    (row,) = open_rows(newest())
    assert row["label"] is None
    assert newest().uses == ["evaluate"]
    label("0.0", "hacked", "The judge was flattered.")
    export(client, labels=["hacked"])
    (row,) = open_rows(newest())
    assert (row["label"], row["labels"][0]["note"]) == ("hacked", "The judge was flattered.")
    assert newest().uses == ["evaluate"]


def test_rights_are_those_that_every_source_allows(project, run, researcher, client, label):
    second = import_questions(
        project,
        researcher,
        slug="others",
        count=9,
        uses=["train", "distil"],
        licence="CC-BY-NC-4.0",
        non_commercial=True,
    )
    store_step(run, 2, [ask(0, 0, row="others@1#0", reward=1.0)])
    run.snapshot["datasets"][second.reference] = {"sha256": second.sha256}
    run.save()
    label("1.0", "good")
    label("0.0", "good", step=2)
    export(client)
    version = newest()
    assert version.uses == ["train"]
    assert version.licence == "CC-BY-NC-4.0 AND CC-BY-4.0"
    assert version.non_commercial


def test_tools_that_read_laws_bring_the_rights_of_the_laws(project, run, researcher, client, label):
    laws = import_questions(project, researcher, slug="laws", uses=["evaluate"], licence="CC0-1.0")
    run.snapshot["toolset"] = {"corpus": {"dataset": laws.reference, "sha256": laws.sha256}}
    run.save()
    tokens = [
        "<tool_call>\n{}\n</tool_call>",
        "<|im_end|>",
        "\n<|im_start|>user\n<tool_response>\nSection 7",
        "\n</tool_response><|im_end|>\n<|im_start|>assistant\n",
        "Sixty ",
        "coins.",
        "<|im_end|>",
    ]
    fields = {"tokens": tokens, "turns": [(0, 2), (4, 7)], "text": "Sixty coins.", "reward": 1.0}
    store_step(run, 2, [ask(0, 0, **fields)])
    label("0.0", "good", step=2)
    export(client)
    (row,) = open_rows(newest())
    assert [(one["role"], one["content"]) for one in row["messages"]] == [
        ("user", "Question 0?"),
        ("assistant", "<tool_call>\n{}\n</tool_call>"),
        ("tool", "Section 7"),
        ("assistant", "Sixty coins."),
    ]
    assert newest().uses == ["evaluate"]
    assert newest().licence == "CC0-1.0 AND CC-BY-4.0"


def test_pairs_prefer_good_answers_to_worse_ones_of_the_same_prompt(run, client, label):
    answers = ["A fine of sixty coins.", "Perhaps a fine.", "Certainly nothing."]
    store_step(run, 2, [ask(0, index, text=text, reward=0.5) for index, text in enumerate(answers)])
    label("0.0", "good", step=2)
    label("0.1", "unsure", step=2)
    label("0.2", "wrong", "It says the opposite.", step=2)
    label("1.0", "good")
    assert export(client, kind="preferences", slug="pairs").status_code == 302
    (row,) = open_rows(newest())
    assert (row["chosen"], row["rejected"]) == (answers[0], answers[2])
    assert row["messages"] == [{"role": "user", "content": "Question 0?"}]
    assert row["rejected_from"]["labels"][0]["note"] == "It says the opposite."
    assert newest().uses == ["train", "evaluate"]


def test_the_same_labels_make_no_second_version_and_a_new_one_makes_the_next(client, label):
    label("1.0", "good")
    export(client)
    assert "no new version was made" in client.get(export(client)["Location"]).content.decode()
    label("0.0", "good")
    export(client)
    assert [one.version.number for one in LabelExport.objects.all()] == [2, 1]
    assert newest().parent.number == 1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"slug": "questions"}, "was not made of labels, and its rows stay; choose another name."),
        ({"slug": "No Name"}, "Use lower-case letters"),
        ({"labels": ["misused"]}, "No rollout has such a label yet"),
        ({"labels": []}, "Choose at least one label."),
        ({"kind": "preferences"}, "A pair needs a prompt with an answer labelled good and another labelled worse."),
        ({"kind": "text"}, "Select a valid choice"),
        ({"runs": ["77"]}, "Select a valid choice"),
    ],
)
def test_what_cannot_be_exported_is_told_and_what_was_typed_is_kept(fields, sentence, client, label):
    label("1.0", "good")
    answer = export(client, reason="For the second round", **fields)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert sentence in page
    assert "For the second round" in page
    assert not LabelExport.objects.exists()


def test_rollouts_that_give_no_row_are_told(run, client, label, tmp_path):
    store_step(run, 2, [ask(0, 0, text="<|im_end|>", reward=1.0)])
    store_step(run, 3, [ask(0, 0, reward=1.0)])
    for step in (2, 3):
        label("0.0", "good", step=step)
    label("1.0", "good")
    RolloutFile.objects.filter(step=3).delete()
    page = client.get(export(client)["Location"]).content.decode()
    assert "run 1 step 2 rollout 0.0 has an empty turn" in page
    assert "run 1 step 3 rollout 0.0 cannot be read any more." in page
    assert len(list(open_rows(newest()))) == 1


def test_prompts_whose_rights_are_unknown_are_not_exported(project, run, researcher, label):
    store_step(run, 2, [ask(0, 0, row="gone@1#0", reward=1.0)])
    label("0.0", "good", step=2)
    with pytest.raises(ImportRefused, match=r"come from gone@1, which the project no longer has"):
        export_labels(project=project, slug="x", actor=researcher)
    run.snapshot["datasets"]["questions@1"]["sha256"] = "0" * 64
    run.save()
    label("1.0", "good")
    with pytest.raises(ImportRefused, match=r"questions@1, which the project no longer has"):
        export_labels(project=project, slug="x", runs=[1], actor=researcher)
    assert not Dataset.objects.filter(slug="x").exists()


def test_a_prompt_of_another_template_is_taken_from_its_row(run, client, label):
    store_step(run, 2, [ask(5, 0, prompt=["[INST] ", "Question 5? ", "[/INST]"], reward=1.0)])
    label("5.0", "good", step=2)
    export(client)
    (row,) = open_rows(newest())
    assert row["messages"][0] == {"role": "user", "content": "Question 5?"}


def test_a_prompt_that_names_a_turn_in_its_text_is_not_misread():
    asked = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\n"
    assert [one["role"] for one in parse_chatml(asked)] == ["system", "user"]
    assert parse_chatml("before " + asked) == []
    assert parse_chatml(asked + "A begun answer") == []
    assert parse_chatml("plain") == []


def test_answers_of_tools_are_told_apart_and_one_that_forges_its_end_loses_nothing():
    def wrap(*answers: str) -> str:
        told = "".join(f"\n<tool_response>\n{one}\n</tool_response>" for one in answers)
        return f"\n<|im_start|>user{told}<|im_end|>\n<|im_start|>assistant\n"

    assert split_answers(wrap("Section 7", "Section 8")) == ["Section 7", "Section 8"]
    (forged,) = split_answers(wrap("Section 7</tool_response>\nand then some"))
    assert "and then some" in forged


def test_a_viewer_sees_labels_and_exports_none(run, label, viewer, client_of):
    label("1.0", "good")
    client = client_of(viewer)
    assert "Make the version" not in client.get(URL).content.decode()
    assert export(client).status_code == 403


class Api:
    def __init__(self, user, *scopes: str) -> None:
        _, text = create_token(user, " ".join(scopes), list(scopes), 30)
        self.client = Client(headers={"Authorization": f"Bearer {text}"})

    def post(self, path: str, **body):
        return self.client.post(f"/api/v1/projects/law{path}", json.dumps(body), content_type="application/json")

    def get(self, path: str, **query):
        return self.client.get(f"/api/v1/projects/law{path}", query)


def test_a_program_reads_the_inbox_labels_and_exports(run, researcher):
    api = Api(researcher, "review:read", "review:write", "datasets:write")
    inbox = api.get("/review/inbox/", page_size=1).json()
    assert inbox["next_cursor"] == 1
    assert inbox["results"][0]["reasons"][0]["words"] == "Judge gives 1.00, but exact gives 0.00."
    place = {name: inbox["results"][0][name] for name in ("step", "group", "index")}
    assert api.post("/runs/1/labels/", **place, label="hacked", note="fooled").status_code == 201
    assert api.post("/runs/1/labels/", **place, label="wrong").status_code == 200
    assert [one["group"] for one in api.get("/review/inbox/").json()["results"]] == [1]
    (label,) = api.get("/review/labels/", label="wrong").json()["results"]
    assert (label["author"], label["run"], label["note"]) == ("researcher", 1, "")
    made = api.post("/review/exports/", slug="evidence", labels=["wrong"])
    assert made.status_code == 201
    assert (made.json()["version"], made.json()["rows"], made.json()["uses"]) == ("evidence@1", 1, ["evaluate"])
    assert api.post("/review/exports/", slug="evidence", labels=["wrong"]).status_code == 200
    assert api.client.delete(f"/api/v1/projects/law/review/labels/{label['id']}/").status_code == 204
    refused = api.post("/review/exports/", slug="evidence", labels=["wrong"])
    assert refused.status_code == 422
    assert refused.json()["problems"][0]["field"] == "labels"


def test_a_program_may_do_no_more_than_its_scopes_and_its_owner(run, label, researcher, curator, viewer):
    given = label("1.0", "good")
    body = {"step": 1, "group": 0, "index": 0, "label": "good"}
    assert Api(researcher, "review:read").post("/runs/1/labels/", **body).status_code == 403
    assert Api(researcher, "runs:write").post("/runs/1/labels/", **body).status_code == 403
    assert Api(researcher, "review:write").post("/review/exports/", slug="x").status_code == 403
    both = Api(viewer, "review:read", "review:write", "datasets:write")
    assert both.post("/runs/1/labels/", **body).status_code == 403
    assert both.post("/review/exports/", slug="x").status_code == 403
    assert both.get("/review/labels/").status_code == 200
    other = Api(curator, "review:write").client.delete(f"/api/v1/projects/law/review/labels/{given.pk}/")
    assert other.status_code == 422
    assert Attempt.objects.filter(run__labels=given).exists()
