"""The ready-made tasks on pages: what they read, under which licence, and frozen in a project by one button."""

import re

import pytest
from django.urls import reverse

from chanote.audit.models import AuditEvent
from chanote.boards.models import Task
from chanote.datasets.models import Dataset, DatasetVersion
from trainer.contract.library import library_names

pytestmark = pytest.mark.django_db
LIBRARY = "/p/law/boards/-/library/"


@pytest.fixture
def rows(project):
    dataset = Dataset.objects.create(project=project, slug="gsm8k-test", title="GSM8K", kind="prompts")
    return DatasetVersion.objects.create(
        dataset=dataset, number=1, sha256="b" * 64, rows=1319, bytes=10, licence="MIT", uses=["evaluate"]
    )


def text_of(answer):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.content.decode()))


def test_every_task_of_the_library_is_listed_with_its_rows_and_licence(browser, rows, django_assert_max_num_queries):
    with django_assert_max_num_queries(12):
        page = browser.get(LIBRARY)
    for name in library_names():
        assert reverse("boards:ready_task", args=["law", name]) in page.content.decode()
    text = text_of(page)
    assert "gsm8k-test@1 1,319 MIT not frozen" in text
    assert "mgsm-th not in this project" in text
    assert LIBRARY in browser.get(reverse("boards:list", args=["law"])).content.decode()


@pytest.mark.parametrize("name", library_names())
def test_each_has_a_page_that_shows_it_whole(browser, name):
    page = text_of(browser.get(f"{LIBRARY}{name}/"))
    assert f"task: {name}" in page
    assert "comes with the rows" in page
    assert "Freeze in this project" not in page


def test_a_button_freezes_it_on_the_rows_of_the_project(browser, rows):
    assert "Freeze in this project" in browser.get(f"{LIBRARY}gsm8k/").content.decode()
    sent = browser.post(f"{LIBRARY}gsm8k/")
    task = Task.objects.get()
    assert sent["Location"] == reverse("boards:task", args=["law", "gsm8k", 1])
    assert (task.dataset_version, task.definition["metric"]) == (rows, "numeric_match")
    assert AuditEvent.objects.filter(verb="task.frozen").count() == 1
    assert "gsm8k@1" in text_of(browser.get(f"{LIBRARY}gsm8k/"))


def test_without_rows_or_rights_nothing_is_frozen(browser, client_of, viewer, stranger, rows):
    refused = browser.post(f"{LIBRARY}mgsm-th/")
    assert refused.status_code == 422
    assert "mgsm-th" in text_of(refused)
    assert client_of(viewer).post(f"{LIBRARY}gsm8k/").status_code == 403
    assert client_of(viewer).get(f"{LIBRARY}gsm8k/").status_code == 200
    for path in (LIBRARY, f"{LIBRARY}gsm8k/"):
        assert client_of(stranger).get(path).status_code == 404
    assert browser.get(f"{LIBRARY}nothing/").status_code == 404
    assert not Task.objects.exists()
