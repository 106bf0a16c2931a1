"""Imported files over REST, and the page that lists them."""

import contextlib
import gzip
import hashlib
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from chanote.audit.models import AuditEvent
from chanote.boards.imports import import_results
from chanote.boards.models import Evaluation, ImportedFile, Sample
from chanote.boards.services import create_board

pytestmark = pytest.mark.django_db
FILES = Path(__file__).resolve().parent.parent / "result_files"
ADDRESS = "/api/v1/projects/law/imported-results/"


@pytest.fixture(autouse=True)
def own_home(settings, tmp_path, plain_static):
    settings.HOME = tmp_path / "home"


@pytest.fixture
def board(project):
    return create_board(project=project, slug="outside", title="Outside")


def real_file(pattern: str) -> tuple[str, bytes]:
    (path,) = FILES.glob(pattern)
    data = path.read_bytes()
    return path.name.removesuffix(".gz"), gzip.decompress(data) if path.suffix == ".gz" else data


def send(browser, *, board="outside", pattern="samples_market_choices_*", beside="", key="", **fields):
    name, data = real_file(pattern)
    body = {"board": board, "file": SimpleUploadedFile(name, data), **fields}
    if beside:
        body["beside"] = SimpleUploadedFile(*real_file(beside))
    return browser.post(ADDRESS, body, headers={"Idempotency-Key": key} if key else {})


def test_a_file_is_imported_over_rest_once_with_its_own_errors_checked(browser, board):
    made = send(browser, beside="results_*")
    assert made.status_code == 201
    told = made.json()
    name, data = real_file("samples_market_choices_*")
    assert (told["name"], told["format"], told["bytes"]) == (name, "lm_eval", len(data))
    assert told["sha256"] == hashlib.sha256(data).hexdigest()
    assert told["skipped"] == []
    assert len(told["notes"]) == 4
    assert all(note.endswith("as the harness states it.") for note in told["notes"])
    assert made["Location"].endswith(f"{ADDRESS}{told['id']}/")
    again = send(browser, beside="results_*", model="another")
    assert (again.status_code, again.json()["id"]) == (201, told["id"])
    assert (ImportedFile.objects.count(), Evaluation.objects.count(), Sample.objects.count()) == (1, 2, 48)
    assert AuditEvent.objects.filter(verb="results.imported").count() == 1
    evaluation = Evaluation.objects.first()
    assert (evaluation.harness, evaluation.model.slug) == ("lm-evaluation-harness 0.4.13", "demo-base")


def test_a_request_sent_twice_under_one_key_happens_once(browser, board):
    first, second = (send(browser, pattern="*.eval", key="once") for _ in range(2))
    assert first.json() == second.json()
    assert first.json()["format"] == "inspect"


def test_what_was_imported_is_listed_read_and_given_back_byte_for_byte(browser, board):
    made = send(browser, pattern="*.eval").json()
    assert [one["id"] for one in browser.get(ADDRESS).json()["results"]] == [made["id"]]
    assert browser.get(f"{ADDRESS}{made['id']}/").json() == made
    file = browser.get(f"{ADDRESS}{made['id']}/file/", headers={"Accept": "application/octet-stream"})
    assert b"".join(file.streaming_content) == real_file("*.eval")[1]


def test_a_bad_import_names_the_field_and_leaves_nothing(browser, board):
    unknown = send(browser, board="nowhere")
    assert unknown.status_code == 422
    assert "nowhere is no board of this project." in unknown.content.decode()
    strange = browser.post(ADDRESS, {"board": "outside", "file": SimpleUploadedFile("x.json", b'{"a": 1}')})
    assert strange.status_code == 422
    assert "is none of the formats that can be imported" in strange.content.decode()
    assert browser.post(ADDRESS, {"board": "outside"}).status_code in (400, 422)
    assert not ImportedFile.objects.exists()


def test_viewers_read_and_do_not_import_and_strangers_find_nothing(client_of, viewer, stranger, browser, board):
    assert send(client_of(viewer)).status_code == 403
    made = send(browser, pattern="*.eval").json()
    closed = (ADDRESS, f"{ADDRESS}{made['id']}/", f"{ADDRESS}{made['id']}/file/")
    pages = (reverse("boards:imported_list", args=["law"]), reverse("boards:original", args=["law", made["id"]]))
    for path in (*closed, *pages):
        for client, status in ((client_of(viewer), 200), (client_of(stranger), 404)):
            with contextlib.closing(client.get(path)) as answer:
                assert answer.status_code == status


def test_the_page_lists_hash_size_importer_and_skipped_rows(client_of, viewer, researcher, browser, board):
    address = reverse("boards:imported_list", args=["law"])
    assert b"No file yet" in client_of(viewer).get(address).content
    name, data = real_file("samples_market_answers_*")
    import_results(board=board, name=name, data=data + b"torn\n", model="m", actor=researcher)
    page = browser.get(address).content.decode()
    (file,) = ImportedFile.objects.all()
    for shown in (name, file.sha256[:8], "lm-evaluation-harness", str(researcher), "Import results"):
        assert shown in page
    assert '<td class="r" data-l="Rows skipped">1</td>' in page
    assert reverse("boards:original", args=["law", file.pk]) in page
    assert "Import results" not in client_of(viewer).get(address).content.decode()


def test_the_list_costs_the_same_for_many_files(browser, board, django_assert_max_num_queries):
    for number in range(12):
        data = real_file("samples_market_answers_*")[1].split(b"\n")[number] + b"\n"
        import_results(board=board, name=f"samples_{number}.jsonl", data=data, model="m")
    with django_assert_max_num_queries(14):
        assert browser.get(reverse("boards:imported_list", args=["law"])).content.count(b"samples_") >= 12
