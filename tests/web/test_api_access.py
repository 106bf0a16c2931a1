"""Who may use the API, and how it says no."""

import time
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from chanote.accounts.models import ApiToken
from chanote.accounts.services import create_token
from chanote.api import throttles
from chanote.api.permissions import SCOPES
from chanote.recipes.services import save_revision

TEXT = "base: tiny\nstages:\n  - {kind: sft, steps: 5, data: [{dataset: talk}]}\n"
RECIPES = "/api/v1/projects/law/recipes/"


@pytest.fixture
def call():
    """Ask the API as a user with a token of some scopes."""

    def ask(user, method, path, body=None, scopes=tuple(SCOPES), **headers):
        name = f"token {ApiToken.objects.count()}"
        _, text = create_token(user, name, list(scopes), 30)
        client = Client(headers={"Authorization": f"Bearer {text}", **headers})
        return client.generic(method, path, "" if body is None else _dump(body), content_type="application/json")

    return ask


def _dump(body) -> str:
    import json

    return json.dumps(body)


def test_without_a_token_the_answer_is_401_and_says_how(client, project):
    answer = client.get(RECIPES)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["title"] == "Who calls is not known"


@pytest.mark.parametrize("header", ["Bearer chanote_wrong", "Bearer", "Bearer a b", "Bearer " + "x" * 500])
def test_a_wrong_token_is_refused(client, project, header):
    answer = client.get(RECIPES, headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.json()["detail"]


def test_only_the_hash_of_a_token_is_kept(researcher):
    token, text = create_token(researcher, "mine", ["runs:read"], 1)
    kept = ApiToken.objects.get()
    assert text.startswith("chanote_")
    assert text not in (kept.digest, kept.token_key)
    assert len(kept.digest) == 128


def test_an_expired_token_is_refused_and_a_live_one_notes_its_use_once_a_minute(client, researcher):
    token, text = create_token(researcher, "mine", ["recipes:read"], 1)
    headers = {"Authorization": f"Bearer {text}"}
    assert client.get(RECIPES, headers=headers).status_code == 200
    first = ApiToken.objects.get().last_used
    assert client.get(RECIPES, headers=headers).status_code == 200
    assert ApiToken.objects.get().last_used == first
    ApiToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert client.get(RECIPES, headers=headers).status_code == 401


def test_a_token_of_somebody_who_was_blocked_is_refused(client, researcher):
    _, text = create_token(researcher, "mine", ["recipes:read"], 1)
    researcher.is_active = False
    researcher.save()
    assert client.get(RECIPES, headers={"Authorization": f"Bearer {text}"}).status_code == 401


def test_a_scope_covers_its_noun_and_verb_only(call, researcher):
    assert call(researcher, "GET", RECIPES, scopes=["recipes:read"]).status_code == 200
    refused = call(researcher, "POST", RECIPES, {}, scopes=["recipes:read", "runs:write"])
    assert refused.status_code == 403
    assert "lacks the scope recipes:write" in refused.json()["detail"]
    assert call(researcher, "GET", RECIPES, scopes=["runs:read"]).status_code == 403
    check = call(researcher, "POST", "/api/v1/projects/law/check-recipe/", {"yaml": TEXT}, scopes=["recipes:read"])
    assert check.status_code == 200


def test_a_first_password_closes_the_api(call, researcher):
    researcher.must_change_password = True
    researcher.save()
    answer = call(researcher, "GET", "/api/v1/me/")
    assert answer.status_code == 403
    assert "Change the password that was given to you" in answer.json()["detail"]


def test_a_stranger_gets_404_everywhere_in_a_project(call, stranger, project, researcher):
    save_revision(project=project, slug="mine", yaml=TEXT, author=researcher)
    for path in (
        "",
        "recipes/",
        "recipes/mine/",
        "runs/",
        "runs/1/",
        "datasets/",
        "boards/",
        "queue/",
        "runs/1/metrics/",
    ):
        answer = call(stranger, "GET", f"/api/v1/projects/law/{path}")
        assert answer.status_code == 404, path
        assert answer.json()["detail"] == "There is nothing at this address that you may see."
    assert call(stranger, "GET", "/api/v1/projects/").json()["results"] == []
    launched = call(stranger, "POST", "/api/v1/projects/law/runs/", {"recipe": "mine"})
    assert launched.status_code == 404


def test_a_viewer_reads_and_may_not_write(call, viewer, project, researcher):
    save_revision(project=project, slug="mine", yaml=TEXT, author=researcher)
    assert call(viewer, "GET", f"{RECIPES}mine/").json()["newest"]["number"] == 1
    answer = call(viewer, "POST", f"{RECIPES}mine/revisions/", {"yaml": TEXT})
    assert answer.status_code == 403
    assert "Your role in Law assistant is viewer" in answer.json()["detail"]


def test_a_browser_session_reads_and_needs_the_csrf_token_to_write(researcher):
    client = Client(enforce_csrf_checks=True)
    client.force_login(researcher, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get("/api/v1/me/").json()["username"] == "researcher"
    answer = client.post(RECIPES, {"slug": "a", "yaml": TEXT}, content_type="application/json")
    assert answer.status_code == 403
    assert "CSRF" in answer.json()["detail"]


def test_me_tells_what_the_token_may_do(call, researcher):
    answer = call(researcher, "GET", "/api/v1/me/", scopes=["runs:read"]).json()
    assert answer["token"]["scopes"] == ["runs:read"]
    assert answer["administrator"] is False


def test_errors_name_fields(call, researcher):
    answer = call(researcher, "POST", RECIPES, {"yaml": "stages: [", "slug": 5})
    body = answer.json()
    assert answer.status_code == 422
    assert body["status"] == 422
    assert "cannot be read as YAML" in body["problems"][0]["message"]
    missing = call(researcher, "POST", RECIPES, {"yaml": TEXT}).json()
    assert missing["problems"] == [{"field": "slug", "message": "This field is required."}]


def test_what_is_no_json_is_told_so(researcher):
    _, text = create_token(researcher, "mine", list(SCOPES), 1)
    client = Client(headers={"Authorization": f"Bearer {text}"})
    assert client.post(RECIPES, "{", content_type="application/json").status_code == 400
    assert client.post(RECIPES, "x", content_type="text/csv").status_code == 415
    assert client.post(RECIPES, "[1]", content_type="application/json").status_code == 400
    assert client.delete(RECIPES).status_code == 405


def test_too_many_requests_are_told_when_to_go_on(call, researcher, settings, monkeypatch):
    settings.API_REQUESTS_PER_MINUTE = {"read": 2, "write": 2, "metrics": 2}
    # The middle of a minute, so that the four requests fall into one.
    now = (time.time() // 60 + 100) * 60 + 30
    monkeypatch.setattr(throttles.time, "time", lambda: now)
    answers = [call(researcher, "GET", "/api/v1/me/") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert answers[-1]["Retry-After"] == "31"


def test_another_process_counts_toward_the_same_limit(settings, db, monkeypatch):
    settings.API_REQUESTS_PER_MINUTE = {"read": 40}
    now = (time.time() // 60 + 100) * 60 + 30
    monkeypatch.setattr(throttles.time, "time", lambda: now)
    first, second = throttles.Meter(), throttles.Meter()
    # In steps of two: each process tells the shared counter of every second request.
    assert [first.admit("somebody", "read") for _ in range(30)] == [0] * 30
    refused = [bool(second.admit("somebody", "read")) for _ in range(14)]
    assert refused[:9] == [False] * 9
    assert refused[11:] == [True] * 3


def test_the_documentation_loads_nothing_from_elsewhere(client, db):
    html = client.get("/api/v1/docs/")
    assert html.status_code == 200
    assert "<script>" not in html.content.decode()
    assert "https://" not in html.content.decode()
    assert client.get("/api/v1/schema/").status_code == 200
