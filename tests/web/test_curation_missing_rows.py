"""Rows that are gone from the store: every page and call about them says so in a sentence, and nothing is lost."""

import json

import pytest
from curated_rows import sections, take

from chanote.curation.changes import find_change_set, record_change
from chanote.datasets.storage import version_path

BASE = "/p/law/datasets/law/1"
API = "/api/v1/projects/law/datasets/law/versions/1"


@pytest.fixture
def version(project, researcher, curator, settings, tmp_path):
    settings.HOME = tmp_path
    # Rows of its own: the store of the tests keeps those of others under their hash.
    version = take(project, [*sections(6), {"text": "these rows are lost"}], actor=researcher)
    record_change(version, {"op": "reject", "rows": [[2, 3]], "why": "cut off"}, actor=curator)
    version_path(version).unlink()
    return version


@pytest.mark.parametrize("address", [f"{BASE}/queue/", f"{BASE}/queue/?row=2&mode=merge&with=3"])
def test_pages_say_that_rows_are_missing(version, client_of, curator, address):
    answer = client_of(curator).get(address)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "The rows of law@1 are missing from the store" in page
    assert "from a backup" in page


def test_acts_on_them_are_refused_and_decisions_stay(version, client_of, curator):
    client = client_of(curator)
    for address, sent in (
        (f"{BASE}/queue/", {"act": "reject", "row": "5"}),
        (f"{BASE}/changes/", {"act": "apply", "reason": "cut off"}),
        (f"{BASE}/bulk/", {"act": "reject", "rows": "1-2", "do": "preview"}),
    ):
        assert "are missing from the store" in client.post(address, sent).content.decode(), address
    assert find_change_set(version, curator).changes.count() == 1
    assert client.get(f"{BASE}/changes/").status_code == 200
    for tab in ("rows", "card", "statistics", "checks", "versions", "diff", "review", "usage", "access", "audit"):
        assert client.get(f"/p/law/datasets/law/?tab={tab}").status_code == 200, tab


def test_rest_refuses_with_the_same_words(version, client_of, curator):
    client = client_of(curator)
    for address, body in (
        (f"{API}/changes/", {"op": "edit", "row": 1, "content": {"text": "x"}}),
        (f"{API}/changes/", {"op": "reject", "rows": [[5, 5]], "preview": True}),
        (f"{API}/changes/apply/", {"reason": "cut off"}),
    ):
        answer = client.post(address, json.dumps(body), content_type="application/json")
        assert answer.status_code == 422, answer.content
        assert "are missing from the store" in answer.json()["detail"]
    assert client.get(f"{API}/rows/").status_code == 422
