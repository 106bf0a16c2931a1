"""Answers on a board scored anew by an errand: from the page, over REST, and as the trainer itself judges."""

import io

import pytest
from django.urls import reverse

from chanote.audit.models import AuditEvent
from chanote.boards.models import Evaluation, Sample
from chanote.boards.selectors import describe_board, read_board
from chanote.boards.services import create_board, freeze_task, import_evaluation
from chanote.datasets.services import import_dataset
from chanote.errands.doing import do_here
from chanote.errands.models import Errand, State
from chanote.models.models import Model
from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample

pytestmark = pytest.mark.django_db
ROWS = b"".join(b'{"id": "q%d", "question": "%d + 1?", "answer": "%d"}\n' % (n, n, n + 1) for n in range(4))
LAST_NUMBER = [{"name": "n", "filter": [{"function": "regex", "regex_pattern": r"(\d+)", "group_select": -1}]}]


@pytest.fixture
def answered(project, settings, tmp_path, researcher):
    """An evaluation of four answers in words, none of which is the number alone."""
    settings.HOME = tmp_path
    version = import_dataset(
        project=project, slug="sums", kind="prompts", file=io.BytesIO(ROWS), format="jsonl", uses=["evaluate"],
        licence="CC0-1.0", actor=researcher,
    )  # fmt: skip
    path = tmp_path / "samples.jsonl"
    samples = [
        ScoredSample(
            item=f"q{n}", prompt=f"{n} + 1?", output=f"That is {n + 1 if n else 9}", target=str(n + 1), score=0.0,
            status="ok",
        )
        for n in range(4)
    ]  # fmt: skip
    path.write_text("".join(one.model_dump_json() + "\n" for one in samples), "utf-8")
    model = Model.objects.create(project=project, slug="m", origin="directory", location="m", sha256="m")

    def freeze(name: str, **fields):
        spec = TaskSpec(task=name, dataset="sums@1", output_type="generate_until", metric="exact_match", **fields)
        return freeze_task(project=project, definition=spec, dataset_version=version)

    board = create_board(project=project, slug="sums", title="Sums")
    evaluation = import_evaluation(task=freeze("sums"), model=model, samples_path=path, board=board)
    return evaluation, freeze


def test_the_page_starts_it_and_both_scores_stay_apart(answered, client_of, researcher, project):
    evaluation, freeze = answered
    strict, changed = freeze("sums", filter_list=LAST_NUMBER), freeze("others", doc_to_text="Q: {{question}}")
    browser = client_of(researcher)
    items = browser.get(reverse("boards:samples", args=["law", "sums"]), {"task": "sums@1", "a": "m"})
    address = reverse("boards:rescoring", args=["law", evaluation.pk])
    assert f'href="{address}?board=sums"' in items.content.decode()
    page = browser.get(f"{address}?board=sums").content.decode()
    assert str(strict) in page
    assert str(changed) not in page
    board = evaluation.boards.get()
    sent = browser.post(address, {"task": strict.pk, "board": board.pk})
    errand = Errand.objects.get()
    assert sent["Location"] == reverse("errand", args=["law", errand.pk])
    done = do_here(errand)
    assert (done.state, done.fault) == (State.FINISHED, "")
    made = Evaluation.objects.get(pk=done.result["evaluation"])
    assert (evaluation.mean, made.mean, made.task, made.model) == (0.0, 0.75, strict, evaluation.model)
    assert Sample.objects.filter(evaluation=evaluation, score=0.0).count() == 4
    assert Sample.objects.filter(evaluation=made, output="That is 2", score=1.0).count() == 1
    assert len(Sample.objects.filter(evaluation=made).first().detail["rescored_from"]) == 64
    # Two tables, two tasks: nothing compares one with the other.
    tables = describe_board(read_board(board))
    assert sorted(table["task"] for table in tables) == ["sums@1", "sums@2"]
    assert all(table["comparisons"] == [] for table in tables)
    assert AuditEvent.objects.filter(verb="evaluation.imported").count() == 2


def test_rest_refuses_what_needs_the_model_and_who_may_not(answered, client_of, researcher, viewer, stranger):
    evaluation, freeze = answered
    freeze("others", doc_to_text="Q: {{question}}")
    strict = freeze("sums", filter_list=LAST_NUMBER)
    address = f"/api/v1/projects/law/evaluations/{evaluation.pk}/rescoring/"

    def ask(user, **body):
        return client_of(user).post(address, body, content_type="application/json")

    for body, sentence in (
        ({"task": "others"}, "doc_to_text: is 'Q: {{question}}' and was"),
        ({"task": "sums@1"}, "is what scored these answers already"),
        ({"task": "nothing"}, "nothing is no task of this project"),
        ({"task": "sums", "board": "nowhere"}, "nowhere is no board of this project"),
    ):
        refused = ask(researcher, **body)
        assert refused.status_code == 422
        assert sentence in refused.json()["detail"]
    assert ask(viewer, task="sums").status_code == 403
    assert ask(stranger, task="sums").status_code == 404
    assert client_of(viewer).get(reverse("boards:rescoring", args=["law", evaluation.pk])).status_code == 403
    assert client_of(stranger).get(reverse("boards:rescoring", args=["law", evaluation.pk])).status_code == 404
    assert not Errand.objects.exists()
    taken = ask(researcher, task=strict.reference)
    assert taken.status_code == 202
    assert Errand.objects.get().config == {"evaluation": evaluation.pk, "task": strict.pk, "board": None}
