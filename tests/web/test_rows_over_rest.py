"""The filters of the page of rows, over REST."""

import contextlib
import json

import pytest
from curated_rows import take

from chanote.checks.models import CheckResult
from chanote.curation import queue
from chanote.datasets.features import NoFeatures, find_features

ROWS = "/api/v1/projects/law/datasets/law/versions/1/rows/"


@pytest.fixture(autouse=True)
def _own_home(settings, tmp_path):
    settings.HOME = tmp_path


@pytest.fixture
def version(project, researcher):
    rows = [
        {"text": "The LAW of Contracts"},
        {"text": "กฎหมายว่าด้วยสัญญา"},
        {"text": "x" * 500, "curation": {"flags": ["long"], "labels": {"quality": "good"}}},
        {"text": "short law, ask somchai@example.org", "curation": {"flags": ["names"]}},
    ]
    return take(project, rows, actor=researcher)


@pytest.fixture
def ask(version, viewer, client_of):
    client = client_of(viewer)

    def ask(status=200, **query):
        answer = client.get(ROWS, query)
        assert answer.status_code == status, answer.content
        return answer.json()

    return ask


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({}, [1, 2, 3, 4]),
        ({"q": "law"}, [1, 4]),
        ({"language": "th"}, [2]),
        ({"flag": "long"}, [3]),
        ({"flag": "any"}, [3, 4]),
        ({"label": "quality"}, [3]),
        ({"label": "quality=bad"}, []),
        ({"shortest": 19, "longest": 100}, [1, 4]),
        ({"q": "law", "flag": "any"}, [4]),
    ],
)
def test_each_filter_finds_what_the_page_finds(ask, query, numbers, viewer, client_of):
    answer = ask(**query)
    assert [row["number"] for row in answer["rows"]] == numbers
    assert (answer["total"], answer["found"]) == (4, len(numbers) if query else None)
    page = client_of(viewer).get("/p/law/datasets/law/", query).context["page"]
    assert [number for number, _ in page.rows] == numbers


def test_a_filtered_list_is_gone_through_by_its_pages(ask):
    first = ask(flag="any", limit=1)
    assert [row["number"] for row in first["rows"]] == [3]
    second = ask(flag="any", limit=1, start=first["next_start"])
    assert ([row["number"] for row in second["rows"]], second["next_start"]) == ([4], None)


def test_bad_bounds_are_told_by_their_field(ask):
    for query in ({"shortest": "many"}, {"longest": -1}, {"shortest": 10**30}, {"flag": "x" * 61}):
        answer = ask(status=400, **query)
        assert [one["field"] for one in answer["problems"]] == list(query)


def test_what_is_masked_is_found_by_no_filter(ask, version):
    CheckResult.objects.create(version=version, check_name="personal", check_version=1, key="k", rows=4, found_rows=1)
    assert ask(q="somchai", flag="names")["rows"] == []
    (row,) = ask(q="short law", flag="names")["rows"]
    assert "somchai@example.org" not in json.dumps(row)


def test_a_large_version_without_its_table_says_what_to_do(ask, version, monkeypatch):
    with contextlib.suppress(NoFeatures):
        find_features(version).unlink()  # Another test has made it, of the same rows.
    monkeypatch.setattr(queue, "AT_ONCE", 1)
    refused = ask(status=422, language="th")
    assert refused["problems"][0]["field"] == "language"
    assert "no table to filter them by yet" in refused["problems"][0]["message"]
    assert [row["number"] for row in ask(q="law")["rows"]] == [1, 4]
