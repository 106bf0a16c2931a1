"""The pages of models as each role meets them."""

import json
import struct

import pytest

from chanote.models.models import Model
from chanote.models.services import register_directory


@pytest.fixture
def directory(tmp_path):
    place = tmp_path / "model"
    place.mkdir()
    config = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "max_position_embeddings": 512}
    (place / "config.json").write_text(json.dumps(config))
    (place / "tokenizer.json").write_text("{}")
    header = json.dumps({"a": {"dtype": "F32", "shape": [30, 50], "data_offsets": [0, 6000]}}).encode()
    (place / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(6000))
    return place


@pytest.fixture
def base(project, researcher, directory):
    return register_directory(
        project=project, slug="base", path=directory, title="Base <model>", licence="MIT", actor=researcher
    )


def test_an_empty_project_says_what_to_do_and_to_whom(client_of, researcher, viewer):
    page = client_of(researcher).get("/p/law/models/").content.decode()
    assert "No model yet" in page
    assert 'href="/p/law/models/-/register/"' in page
    page = client_of(viewer).get("/p/law/models/").content.decode()
    assert "A researcher or an admin of the project can register one." in page


def test_a_model_is_registered_from_the_form(client_of, researcher, project, directory):
    client = client_of(researcher)
    wishes = {"slug": "tiny", "origin": "directory", "path": str(directory), "title": "Tiny", "revision": "main"}
    answer = client.post("/p/law/models/-/register/", wishes, follow=True)
    page = answer.content.decode()
    assert answer.redirect_chain == [("/p/law/models/tiny/", 302)]
    assert "Registered tiny." in page
    assert "1,500" in page, "parameters"
    assert "512 tokens" in page
    assert "LicenseRef-unknown" in page


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"path": "/nonexistent"}, "/nonexistent is no directory that the platform can read."),
        ({"path": ""}, "Say where the model is."),
        ({"origin": "hub", "hub_name": ""}, "Say where the model is."),
        ({"origin": "hub", "hub_name": "no/such-model"}, "the platform downloads nothing."),
        ({"slug": "Not A Slug"}, "Use lower-case letters"),
    ],
)
def test_what_cannot_be_registered_is_told_and_nothing_typed_is_lost(
    client_of, researcher, directory, wishes, message, monkeypatch, tmp_path
):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    given = {"slug": "tiny", "origin": "directory", "path": str(directory), "title": "Typed title", **wishes}
    answer = client_of(researcher).post("/p/law/models/-/register/", given)
    assert answer.status_code == 422
    assert message in answer.content.decode()
    assert 'value="Typed title"' in answer.content.decode()
    assert not Model.objects.exists()


def test_the_page_shows_the_deed_and_the_line(client_of, viewer, base, project, directory):
    child = register_directory(project=project, slug="child", path=directory, parent=base, actor=None)
    page = client_of(viewer).get("/p/law/models/child/").content.decode()
    assert f"sha-256 {child.sha256}" in page
    assert '<a class="mono" href="/p/law/models/base/">base</a>' in page
    assert "MIT" in page, "the licence is inherited"
    page = client_of(viewer).get("/p/law/models/base/").content.decode()
    assert "Base &lt;model&gt;" in page
    assert "Models made from it" in page
    assert "Edit words and licence" not in page


def test_files_that_are_gone_are_told(client_of, viewer, base, directory):
    (directory / "config.json").unlink()
    page = client_of(viewer).get("/p/law/models/base/").content.decode()
    assert "The files of this model are no longer at" in page


def test_words_and_licence_may_change(client_of, researcher, base):
    client_of(researcher).post(
        "/p/law/models/base/edit/", {"title": "New", "licence": "Apache-2.0", "description": "d"}
    )
    base.refresh_from_db()
    assert (base.title, base.licence, base.description) == ("New", "Apache-2.0", "d")


def test_viewers_change_nothing_and_strangers_learn_nothing(client_of, viewer, stranger, base):
    assert client_of(viewer).get("/p/law/models/-/register/").status_code == 403
    assert client_of(viewer).get("/p/law/models/base/edit/").status_code == 403
    for url in ("/p/law/models/", "/p/law/models/base/", "/p/law/models/-/register/"):
        assert client_of(stranger).get(url).status_code == 404


def test_a_checkpoint_becomes_a_model_at_a_button(client_of, researcher, viewer, project, base, tmp_path, directory):
    from chanote.recipes.models import Recipe, Revision
    from chanote.runs.models import Attempt, Checkpoint, Run

    recipe = Recipe.objects.create(project=project, slug="r", title="r")
    revision = Revision.objects.create(recipe=recipe, number=1, yaml="", resolved={})
    run = Run.objects.create(project=project, number=1, name="first", revision=revision, base=base, snapshot={})
    attempt = Attempt.objects.create(run=run, number=1, directory=str(tmp_path))
    checkpoint = Checkpoint.objects.create(
        run=run, attempt=attempt, step=5, stage=0, directory=str(directory), sha256=base.sha256
    )
    url = f"/p/law/models/-/checkpoint/{checkpoint.pk}/"
    assert client_of(viewer).post(url).status_code == 403
    answer = client_of(researcher).post(url)
    assert answer["Location"] == "/p/law/models/first-1-step-5/"


def test_the_admin_lets_words_change_only(client_of, django_user_model, base):
    client = client_of(django_user_model.objects.create_superuser("root", password="correct horse battery"))
    page = client.get(f"/admin/models/model/{base.pk}/change/").content.decode()
    assert 'name="title"' in page
    assert 'name="sha256"' not in page
