"""The same rules on every other path: REST, the command line, the admin, one by one and in bulk."""

import io
import json
import re

import pytest
from curated_rows import EVERY_POINT, sections, take
from django.contrib import admin
from django.test import Client

from chanote.accounts.models import Membership, User
from chanote.accounts.services import create_token
from chanote.api.permissions import SCOPES
from chanote.audit.models import AuditEvent
from chanote.cli import main
from chanote.curation.models import Standing, State
from chanote.curation.selectors import state_of
from chanote.curation.services import ask_for_review
from chanote.datasets.models import Dataset

V = "/api/v1/projects/law/datasets/law/versions/1"


@pytest.fixture(autouse=True)
def _own_home(settings, tmp_path):
    settings.HOME = tmp_path


@pytest.fixture
def root(db):
    return User.objects.create(username="root", is_superuser=True, is_staff=True)


@pytest.fixture
def version(project, researcher):
    return take(project, sections(8), actor=researcher)


class Api:
    def __init__(self, user) -> None:
        _, text = create_token(user, f"program of {user}", list(SCOPES), 30)
        self.client = Client(headers={"Authorization": f"Bearer {text}"})

    def get(self, path, status=200):
        answer = self.client.get(path)
        assert answer.status_code == status, answer.content
        return answer.json() if answer.content else None

    def post(self, path, body, status=200):
        answer = self.client.post(path, json.dumps(body), content_type="application/json")
        assert answer.status_code == status, answer.content
        return answer.json() if answer.content else None


def test_a_review_over_rest(version, researcher, curator, project_admin, viewer):
    maker, other, third = Api(researcher), Api(curator), Api(project_admin)
    assert maker.get(f"{V}/standing/")["state"] == "draft"
    asked = maker.post(f"{V}/standing/", {"act": "ask", "restricted": True, "reason": "names in it"})
    assert (asked["state"], asked["signers_needed"], asked["asked_by"]) == ("in_review", 2, "researcher")
    sign = {"act": "sign", "checklist": list(EVERY_POINT)}
    refused = maker.post(f"{V}/standing/", sign, 422)
    assert refused["problems"][0]["message"] == "You made this version, so somebody else must sign it."
    assert "Confirm each point" in other.post(f"{V}/standing/", {"act": "sign"}, 422)["problems"][0]["message"]
    assert other.post(f"{V}/standing/", sign)["state"] == "in_review"
    other.post(f"{V}/standing/", sign, 422)
    done = third.post(f"{V}/standing/", sign)
    assert done["state"] == "restricted"
    assert [one["person"] for one in done["signatures"]] == ["curator", "project-admin"]
    Api(viewer).post(f"{V}/standing/", {"act": "withdraw", "reason": "x"}, 403)
    third.post(f"{V}/comments/", {"text": "well done", "row": 3}, 201)
    assert maker.get(f"{V}/comments/")["results"][0]["row"] == 3


def test_rows_are_changed_over_rest(version, researcher, curator, viewer):
    api = Api(curator)
    seen = api.post(f"{V}/changes/", {"op": "reject", "rows": [[2, 4]], "preview": True})
    assert (seen["rows"], seen["samples"][0]["after"]) == (3, [])
    assert api.get(f"{V}/changes/")["results"] == []
    change = api.post(f"{V}/changes/", {"op": "reject", "rows": [[2, 4]], "why": "cut off"}, 201)
    assert change["words"] == "Reject 3 rows"
    api.post(f"{V}/changes/", {"op": "edit", "row": 1, "content": {"text": "new"}}, 201)
    assert "needs row and content" in api.post(f"{V}/changes/", {"op": "edit"}, 422)["problems"][0]["message"]
    api.post(f"{V}/changes/", {"op": "edit", "row": 2, "content": {"text": "x"}}, 422)
    api.post(f"{V}/changes/", {"op": "deduplicate", "rows": [[1, 2]]}, 400)
    assert Api(researcher).get(f"{V}/changes/")["results"] == []
    assert api.client.delete(f"{V}/changes/2/").status_code == 204
    made = api.post(f"{V}/changes/apply/", {"reason": "by a program"}, 201)
    assert (made["version"], made["rows"]) == ("law@2", 5)
    api.post(f"{V}/changes/apply/", {"reason": "again"}, 404)
    Api(viewer).post(f"{V}/changes/", {"op": "reject", "rows": [[1, 1]]}, 403)
    assert api.client.delete(f"{V}/changes/").status_code == 404


def test_the_command_line_keeps_the_rules_and_replays(version, researcher, curator, capsys):
    def run(*arguments, code=0):
        assert main(["dataset", *arguments, "--project", "law", "--json"]) == code
        return json.loads(capsys.readouterr().out)

    assert run("review", "law", "--as", "curator")["state"] == "draft"
    run("review", "law@1", "ask", "--as", "researcher")
    points = [part for point in EVERY_POINT for part in ("--confirm", point)]
    assert "You made this version" in run("review", "law", "sign", *points, "--as", "researcher", code=4)["error"]
    assert run("review", "law", "sign", *points, "--as", "curator")["signed_by"] == ["curator"]
    assert "nothing to replay" in run("replay", "law", "--as", "curator", code=4)["error"]
    api = Api(curator)
    api.post(f"{V}/changes/", {"op": "reject", "rows": [[1, 1]]}, 201)
    api.post(f"{V}/changes/apply/", {"reason": "short"}, 201)
    assert run("replay", "law@2", "--as", "curator")["same"] is True
    assert run("review", "law@9", "--as", "curator", code=3)["error"]


def test_the_admin_shows_standings_and_changes_none(version, researcher, root, client_of):
    standing = ask_for_review(version, actor=researcher)
    client = client_of(root)
    base = f"/admin/curation/standing/{standing.pk}"
    assert client.get("/admin/curation/standing/").status_code == 200
    page = client.get(f"{base}/change/")
    assert page.status_code == 200
    assert b'name="state"' not in page.content
    for data in ({"state": "approved"}, {"state": "approved", "first_by": root.pk}):
        assert client.post(f"{base}/change/", data).status_code == 403
    assert client.post("/admin/curation/standing/add/", {"state": "approved"}).status_code == 403
    assert client.post(f"{base}/delete/", {"post": "yes"}).status_code == 403
    assert client.get(f"{base}/history/").status_code == 200
    assert state_of(version) == State.IN_REVIEW


def test_no_bulk_action_of_the_admin_approves(version, researcher, root, client_of):
    standing = ask_for_review(version, actor=researcher)
    client = client_of(root)
    offered = admin.site._registry[Standing].get_actions(client.get("/admin/").wsgi_request)
    assert "approve" not in " ".join(offered)
    for action in ("approve", "sign", "delete_selected"):
        client.post("/admin/curation/standing/", {"action": action, "_selected_action": standing.pk, "post": "yes"})
    assert state_of(version) == State.IN_REVIEW
    client.post("/admin/curation/standing/", {"action": "withdraw", "_selected_action": standing.pk})
    assert state_of(version) == State.WITHDRAWN
    assert AuditEvent.objects.filter(verb="dataset.withdrawn", actor=root).exists()


def test_tables_of_the_admin_are_exported(version, researcher, root, client_of, viewer, stranger):
    ask_for_review(version, actor=researcher)
    for table, words in (("curation/standing", "in_review"), ("datasets/datasetversion", version.sha256)):
        client = client_of(root)
        assert client.get(f"/admin/{table}/export/").status_code == 200
        form = client.get(f"/admin/{table}/export/").context["form"]
        fields = dict.fromkeys(set(form.fields) - {"export_items"}, "on")
        answer = client.post(f"/admin/{table}/export/", {**fields, "format": "0", "resource": "0"})
        assert words in answer.content.decode()
        assert client_of(viewer).get(f"/admin/{table}/export/").status_code in (302, 404)


def test_words_about_datasets_are_imported_and_remembered(version, root, client_of):
    dataset = Dataset.objects.get()
    client = client_of(root)
    table = f'id,slug,title,description,languages\n{dataset.pk},other-name,Laws of Lera,What it is,"[""th""]"\n'
    page = client.post("/admin/datasets/dataset/import/", {"import_file": io.StringIO(table), "format": "0"})
    confirm = page.context["confirm_form"].initial
    client.post("/admin/datasets/dataset/process_import/", confirm)
    dataset.refresh_from_db()
    assert (dataset.title, dataset.slug, dataset.languages) == ("Laws of Lera", "law", ["th"])
    assert dataset.history.first().history_user == root
    assert AuditEvent.objects.filter(verb="dataset.described", actor=root).exists()
    assert client.get(f"/admin/datasets/dataset/{dataset.pk}/history/").status_code == 200


def test_a_new_project_is_offered_to_review_its_data(client_of, researcher):
    from chanote.accounts.models import Project

    client = client_of(User.objects.create(username="boss", is_superuser=True))
    page = client.get("/projects/new/").content.decode()
    assert "Only approved versions of datasets may train" in page
    (box,) = re.findall(r"<input[^>]*reviews_data[^>]*>", page)
    assert "checked" in box
    client.post("/projects/new/", {"name": "New", "slug": "new", "reviews_data": "on"})
    assert Project.objects.get(slug="new").reviews_data
    client.post("/projects/new/", {"name": "Old", "slug": "old"})
    assert not Project.objects.get(slug="old").reviews_data


def test_a_version_of_another_project_is_no_version_here(version, client_of, stranger, project):
    from chanote.accounts.models import Project

    other = Project.objects.create(slug="tax", name="Tax")
    outsider = User.objects.create(username="outsider")
    Membership.objects.create(user=outsider, project=other, role="admin")
    client = client_of(outsider)
    for address in ("/p/law/datasets/law/1/queue/", "/p/tax/datasets/law/1/queue/"):
        assert client.get(address).status_code == 404
    assert client.post("/p/tax/datasets/law/1/review/", {"act": "withdraw", "reason": "x"}).status_code == 404
    assert state_of(version) == State.DRAFT
