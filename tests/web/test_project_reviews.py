"""Whether a project reviews its data: said on its page, over REST and by command, by its admins alone, and logged."""

import json

import pytest

from chanote.accounts.services import create_token
from chanote.audit.models import AuditEvent
from chanote.cli import main

API = "/api/v1/projects/law/"


def read_switch(project) -> bool:
    project.refresh_from_db()
    return project.reviews_data


def told() -> list[tuple[str, bool]]:
    events = AuditEvent.objects.filter(verb="project.changed").order_by("pk")
    return [(event.actor.username, event.detail["reviews_data"]) for event in events]


def test_an_admin_changes_it_on_the_members_page(project, project_admin, client_of):
    client = client_of(project_admin)
    page = client.get("/p/law/members/").content.decode()
    assert "Versions of datasets may train a model without a review." in page
    assert client.post("/p/law/members/reviews/", {"reviews_data": "yes"})["Location"] == "/p/law/members/"
    assert read_switch(project)
    assert "Let drafts train as well" in client.get("/p/law/members/").content.decode()
    client.post("/p/law/members/reviews/", {"reviews_data": "yes"})
    client.post("/p/law/members/reviews/", {"reviews_data": "no"})
    assert told() == [("project-admin", True), ("project-admin", False)], "the same again is no change"


@pytest.mark.parametrize(
    ("role", "status"), [("viewer", 403), ("researcher", 403), ("curator", 403), ("stranger", 404)]
)
def test_others_read_it_and_change_it_nowhere(project, role, status, request, client_of, capsys):
    person = request.getfixturevalue(role)
    client = client_of(person)
    if role != "stranger":
        page = client.get("/p/law/members/").content.decode()
        assert "Review of data" in page
        assert "/members/reviews/" not in page
    assert client.post("/p/law/members/reviews/", {"reviews_data": "yes"}).status_code == status
    body = json.dumps({"reviews_data": True})
    assert client.patch(API, body, content_type="application/json").status_code == status
    assert main(["project", "reviews", "yes", "--project", "law", "--as", person.username]) != 0
    assert "Error" not in capsys.readouterr().err
    assert not read_switch(project)
    assert told() == []


def test_rest_needs_a_token_that_may_change_rights(project, project_admin, client_of):
    client = client_of(project_admin)
    client.logout()
    for scopes, status in ((["datasets:write", "rights:read"], 403), (["rights:write"], 200)):
        _, text = create_token(project_admin, f"program {status}", scopes, 30)
        headers = {"Authorization": f"Bearer {text}"}
        assert client.get(API, headers=headers).json()["reviews_data"] is False
        answer = client.patch(API, json.dumps({"reviews_data": True}), content_type="application/json", headers=headers)
        assert answer.status_code == status
    assert answer.json()["reviews_data"] is True
    for body in ({}, {"reviews_data": "perhaps"}, {"name": "Other"}):
        wrong = client.patch(API, json.dumps(body), content_type="application/json", headers=headers)
        assert wrong.status_code == 400
    project.refresh_from_db()
    assert (project.reviews_data, project.name) == (True, "Law assistant")
    assert told() == [("project-admin", True)]


def test_the_command_shows_and_changes_it(project, project_admin, capsys):
    words = ["--project", "law", "--as", "project-admin", "--json"]
    assert main(["project", "reviews", "yes", *words]) == 0
    assert json.loads(capsys.readouterr().out) == {"project": "law", "reviews_data": True}
    assert main(["project", "show", *words]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["reviews_data"], shown["members"]) == (True, ["project-admin: admin"])
    assert told() == [("project-admin", True)]
