"""The pages of datasets as each role meets them, and an import in its two steps without any script."""

import io
import json
import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chanote.datasets.models import Dataset, DatasetVersion
from chanote.datasets.services import import_dataset
from chanote.datasets.staging import staging_folder
from chanote.datasets.storage import version_path


@pytest.fixture(autouse=True)
def _own_home(settings, tmp_path):
    """Uploads of other tests are none of this one's."""
    settings.HOME = tmp_path


def take(project, slug, rows, kind="text", **given):
    content = "\n".join(json.dumps(row) for row in rows).encode()
    given = {"actor": None, **given}
    return import_dataset(project=project, slug=slug, kind=kind, file=io.BytesIO(content), format="jsonl", **given)


@pytest.fixture
def law(project, researcher):
    rows = [{"text": f"มาตรา {n}" + (" <b>VAT</b>" if n == 60 else ""), "section_num": str(n)} for n in range(1, 76)]
    return take(
        project,
        "law",
        rows,
        title="Laws",
        licence="CC-BY-4.0",
        languages=["th"],
        source="https://example.org/x",
        actor=researcher,
    )


def read(client, url, status=200):
    answer = client.get(url)
    assert answer.status_code == status
    return re.sub(r"\s+", " ", answer.content.decode())


def test_an_empty_project_says_what_to_do_and_to_whom(client_of, researcher, viewer):
    page = read(client_of(researcher), "/p/law/datasets/")
    assert "No dataset yet" in page
    assert 'href="/p/law/datasets/-/import/"' in page
    page = read(client_of(viewer), "/p/law/datasets/")
    assert "A researcher, curator or admin of the project can import one." in page
    assert "-/import/" not in page


def test_the_list_shows_rights_in_a_fixed_number_of_queries(client_of, viewer, project, law, django_assert_num_queries):
    client = client_of(viewer)
    take(project, "tax", [{"question": "q"}], kind="prompts", uses=["evaluate"])
    page = read(client, "/p/law/datasets/")
    assert "Evaluation only" in page
    assert "CC-BY-4.0" in page
    with CaptureQueriesContext(
        connection,
    ) as few:
        client.get("/p/law/datasets/")
    for number in range(5):
        take(project, f"more-{number}", [{"text": "x"}])
    with django_assert_num_queries(len(few)):
        client.get("/p/law/datasets/")


def test_strangers_learn_nothing(client_of, stranger, law, client):
    for url in ("/p/law/datasets/", "/p/law/datasets/law/", "/p/law/datasets/law/1.jsonl", "/p/law/datasets/-/import/"):
        read(client_of(stranger), url, 404)
        assert client.get(url).status_code == 302


def test_the_page_shows_the_deed_the_rights_and_the_rows(client_of, viewer, law):
    page = read(client_of(viewer), "/p/law/datasets/law/")
    assert f"sha-256 {law.sha256}" in page
    assert "rows 1 to 50 of 75" in page
    assert '<div class="passage" lang="th">มาตรา 1</div>' in page
    assert "Publish rows</span>" in page, "also what is not allowed"
    # 75 times the five letters of มาตรา, and five Latin letters in row 60: 375 of 380.
    assert "Thai 98.7 %" in page
    assert "Import a new version" not in page
    page = read(client_of(viewer), "/p/law/datasets/law/?version=1&start=50")
    assert "rows 51 to 75 of 75" in page
    assert "&lt;b&gt;VAT&lt;/b&gt;" in page, "rows are text, never markup"
    assert "row 60" in read(client_of(viewer), "/p/law/datasets/law/?row=60")


def test_rows_are_searched(client_of, viewer, law):
    page = read(client_of(viewer), "/p/law/datasets/law/?q=vat")
    assert "1 found in 75 rows" in page
    assert "<mark>VAT</mark>" in page
    page = read(client_of(viewer), "/p/law/datasets/law/?q=%3Cabsent%3E")
    assert "No row holds “&lt;absent&gt;”" in page


def test_every_kind_is_shown_in_its_own_way(client_of, viewer, project):
    client = client_of(viewer)
    take(
        project,
        "talk",
        [{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}],
        "chat",
    )
    page = read(client, "/p/law/datasets/talk/")
    assert page.index("User</span>") < page.index("Assistant</span>")
    take(project, "exam", [{"question": "q", "choices": ["no", "yes"], "answer": 1}], "choices")
    assert re.search(r'class="is-right"><b class="mono">B</b>.*yes', read(client, "/p/law/datasets/exam/"))
    citations = [{"law": "ประมวลรัษฎากร", "section": "40"}]
    take(project, "ask", [{"question": "q", "answer": "a", "citations": citations}], "prompts")
    assert "ประมวลรัษฎากร · 40" in read(client, "/p/law/datasets/ask/")


def test_evaluation_only_and_non_commercial_are_said_plainly(client_of, viewer, project):
    take(project, "tax", [{"text": "x"}], uses=["evaluate"], non_commercial=True)
    page = read(client_of(viewer), "/p/law/datasets/tax/")
    assert "A recipe that trains on these rows is refused at launch." in page
    assert "Non-commercial" in page
    assert "Nobody has said under which licence the rows are." in page


def test_versions_card_and_usage_have_their_own_addresses(client_of, viewer, project, law):
    take(project, "law", [{"text": "มาตรา 1", "section_num": "1"}], reason="Only the first.")
    client = client_of(viewer)
    page = read(client, "/p/law/datasets/law/?tab=versions")
    assert "Only the first." in page
    assert "+0 −74" in page
    assert "This is an older version. The newest is" in read(client, "/p/law/datasets/law/?version=1")
    assert "https://example.org/x" in read(client, "/p/law/datasets/law/?tab=card")
    assert "No run has used this version." in read(client, "/p/law/datasets/law/?tab=usage")
    read(client, "/p/law/datasets/law/?version=3", 404)


def test_lost_rows_are_told_on_a_page_that_still_works(client_of, viewer, law):
    version_path(law).unlink()
    page = read(client_of(viewer), "/p/law/datasets/law/")
    assert "are missing from the store" in page
    assert "Frozen" in page
    read(client_of(viewer), "/p/law/datasets/law/1.jsonl", 404)


def test_rows_are_downloaded_as_they_are_stored(client_of, viewer, law):
    answer = client_of(viewer).get("/p/law/datasets/law/1.jsonl")
    assert b"".join(answer.streaming_content) == version_path(law).read_bytes()
    assert answer["Content-Disposition"] == 'attachment; filename="law-1.jsonl"'


def test_words_may_change_and_rows_may_not(client_of, researcher, viewer, law):
    client = client_of(researcher)
    answer = client.post("/p/law/datasets/law/edit/", {"title": "", "languages": "th, klingon!", "description": "kept"})
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "is no language tag; write tags such as th or pt-BR." in page.replace("&#x27;", "'")
    assert "kept" in page
    client.post("/p/law/datasets/law/edit/", {"title": "New", "languages": "th,en", "description": "d"})
    dataset = Dataset.objects.get(slug="law")
    assert (dataset.title, dataset.languages, dataset.description) == ("New", ["th", "en"], "d")
    assert client_of(viewer).get("/p/law/datasets/law/edit/").status_code == 403


def upload(client, name, content, **given):
    return client.post("/p/law/datasets/-/import/", {"file": SimpleUploadedFile(name, content), **given})


WISHES = {"slug": "qa", "title": "Typed title", "kind": "prompts", "kind_shown": "prompts", "uses": ["evaluate"]}


def test_a_file_is_imported_in_two_steps(client_of, curator, project):
    client = client_of(curator)
    answer = upload(client, "My Questions.csv", "Frage,Antwort\nกฎหมายคืออะไร,กติกา\nWhat?,It\n".encode())
    assert answer.status_code == 302
    step = answer["Location"]
    page = read(client, step)
    assert 'value="my-questions"' in page
    assert "กฎหมายคืออะไร" in page
    assert "No column for text was found among Frage, Antwort; say which one it is." in page

    changed = client.post(step, {**WISHES, "kind_shown": "text", "act": "import"})
    assert changed.status_code == 200, "a changed kind shows its own columns first"
    assert "The columns below are those of prompts rows." in changed.content.decode()
    assert 'value="Typed title"' in changed.content.decode()

    missing = client.post(step, {**WISHES, "act": "import"})
    assert missing.status_code == 422
    assert "Say which column it is." in missing.content.decode()
    assert 'value="Typed title"' in missing.content.decode()

    columns = {"column_question": "Frage", "column_answer": "Antwort"}
    seen = client.post(step, {**WISHES, **columns, "act": "preview"})
    assert seen.status_code == 200
    assert '<div class="passage" lang="th">กฎหมายคืออะไร</div>' in seen.content.decode()
    assert not DatasetVersion.objects.exists()

    done = client.post(step, {**WISHES, **columns, "act": "import"}, follow=True)
    assert "Imported 2 rows as qa@1." in done.content.decode()
    version = DatasetVersion.objects.get()
    assert (version.rows, version.uses, version.dataset.title, version.created_by) == (
        2,
        ["evaluate"],
        "Typed title",
        curator,
    )
    assert version_path(version).read_text().splitlines()[1] == '{"answer":"It","question":"What?"}'
    assert list(staging_folder().iterdir()) == [], "the upload is not kept"


def test_bad_rows_stand_in_a_table_and_nothing_typed_is_lost(client_of, researcher):
    client = client_of(researcher)
    content = b'{"question": "q"}\n{"question": ""}\n{"question": 3}\n'
    step = upload(client, "bad.jsonl", content)["Location"]
    answer = client.post(step, {**WISHES, "column_question": "question", "act": "import"})
    page = re.sub(r"\s+", " ", answer.content.decode())
    assert answer.status_code == 422
    assert "2 rows cannot be taken, so nothing was imported. Row 2: question is empty" in page
    assert '<td class="r mono">3</td><td class="wrap break">question is not text</td>' in page
    assert 'value="Typed title"' in page
    assert not Dataset.objects.exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jsonl", b"", "The file is empty; choose a file with rows."),
        ("blank.jsonl", b"\n\n", "The file holds no rows."),
        ("list.jsonl", b"[1]\n", "Row 1: is a list, not an object"),
        ("wide.jsonl", "x".encode("utf-16"), "The file is encoded as UTF-16; save it as UTF-8."),
        ("rows.xlsx", b"x", "The ending of rows.xlsx says nothing known; choose the format."),
        ("x.parquet", b"PAR1", "The file cannot be read as Parquet after row 0"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_beside_its_field(client_of, researcher, name, content, message):
    answer = upload(client_of(researcher), name, content)
    assert answer.status_code == 422
    assert message in answer.content.decode()
    assert not staging_folder().exists() or list(staging_folder().iterdir()) == []


def test_an_upload_belongs_to_who_made_it(client_of, researcher, curator):
    step = upload(client_of(researcher), "a.jsonl", b'{"text": "x"}')["Location"]
    answer = client_of(curator).get(step, follow=True)
    assert "That upload is no longer kept" in answer.content.decode()


def test_a_new_version_starts_from_the_rights_of_the_last(client_of, researcher, law):
    client = client_of(researcher)
    answer = client.post(
        "/p/law/datasets/-/import/?dataset=law", {"file": SimpleUploadedFile("new.jsonl", b'{"text": "x"}')}
    )
    page = read(client, answer["Location"])
    assert 'value="CC-BY-4.0"' in page
    assert 'value="law"' in page


def test_the_same_rows_again_are_told_and_make_no_version(client_of, researcher, law):
    client = client_of(researcher)
    step = upload(client, "law.jsonl", version_path(law).read_bytes())["Location"]
    wishes = {
        "slug": "law",
        "title": "x",
        "kind": "text",
        "kind_shown": "text",
        "column_text": "text",
        "column_section_num": "section_num",
        "uses": law.uses,
        "licence": "CC-BY-4.0",
        "act": "import",
    }
    page = client.post(step, wishes, follow=True).content.decode()
    assert "Rows and rights are exactly those of version 1, so no new version was made." in page
    assert DatasetVersion.objects.count() == 1


def test_viewers_import_nothing(client_of, viewer, law):
    assert client_of(viewer).get("/p/law/datasets/-/import/").status_code == 403
    assert upload(client_of(viewer), "a.jsonl", b'{"text": "x"}').status_code == 403


def test_the_admin_shows_versions_and_lets_none_change(client_of, django_user_model, law):
    root = django_user_model.objects.create_superuser("root", password="correct horse battery")
    client = client_of(root)
    assert "law@1" in client.get("/admin/datasets/datasetversion/").content.decode()
    assert client.get("/admin/datasets/datasetversion/add/").status_code == 403
    change = client.get(f"/admin/datasets/datasetversion/{law.pk}/change/")
    assert 'name="_save"' not in change.content.decode()
    assert client.get(f"/admin/datasets/dataset/{law.dataset_id}/change/").status_code == 200
