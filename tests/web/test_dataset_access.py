"""The tabs Access and Statistics of a dataset, and how many tokens it has, as far as anybody has measured."""

import re

import pytest
from curated_rows import EVERY_POINT, sections, take

from chanote.accounts.models import Membership, User
from chanote.checks.models import CheckResult
from chanote.checks.token_counts import read_count
from chanote.curation.services import ask_for_review, sign_version
from chanote.custody.models import BundleExport
from chanote.recipes.forms.options import read_options
from tests.run_rows import make_run

BASE = "/p/law/datasets/law/"
COUNTS = {
    "languages": [
        {"language": "th", "rows": 6, "mean": 100.0, "median": 90, "p95": 200, "cut": 2,
         "fertility": [{"tokens_per_character": 0.5, "bytes_per_token": 6.0, "tokens_per_row": 50.0}]},
        {"language": "en", "rows": 2, "mean": 400.0, "median": 300, "p95": 700, "cut": 1,
         "fertility": [{"tokens_per_character": 0.25, "bytes_per_token": 4.0, "tokens_per_row": 100.0}]},
        {"language": "de", "rows": 1, "mean": 70.0, "median": 70, "p95": 70, "cut": 0, "fertility": []},
    ],
    "tokenizers": [["small", "large"]],
    "note": "",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _own_home(settings, tmp_path):
    settings.HOME = tmp_path


@pytest.fixture
def version(project, researcher):
    return take(project, sections(9), actor=researcher)


def read(client, address):
    answer = client.get(address)
    assert answer.status_code == 200, answer.content
    return re.sub(r"\s+", " ", answer.content.decode())


def count_tokens(version, counts=COUNTS):
    CheckResult.objects.create(
        version=version, check_name="lengths", check_version=1, key="k", rows=9, found_rows=0, counts=counts
    )


def test_tokens_are_estimated_language_by_language():
    count = read_count(COUNTS)
    # 6 · 100 · 0.5 + 2 · 400 · 0.25 = 500 of 1,400 characters; 70 further ones by the same ratio: 25.
    assert (count.tokens, count.cut, count.rows, count.tokenizer) == (525, 3, 9, "small and 1 more")
    assert read_count({**COUNTS, "tokenizers": []}) is None
    assert read_count({"languages": [], "tokenizers": [["small"]]}) is None


@pytest.mark.parametrize(
    ("times", "words"),
    [(1, "about 525"), (100, "about 52,500"), (2000, "about 1.05 million"), (2e6, "about 1.05 billion")],
)
def test_large_counts_are_told_in_three_figures(times, words):
    languages = [{**one, "mean": one["mean"] * times} for one in COUNTS["languages"]]
    assert read_count({**COUNTS, "languages": languages}).words == words


def test_what_nobody_has_counted_is_called_so(version, viewer, client_of):
    client = client_of(viewer)
    assert "not counted" in read(client, "/p/law/datasets/")
    assert "not counted" in read(client, BASE)
    assert "Not counted. The check of length and tokens measures it" in read(client, f"{BASE}?tab=statistics")


def test_counted_tokens_stand_in_list_header_and_statistics_with_how_they_were_found(version, viewer, client_of):
    count_tokens(version)
    client = client_of(viewer)
    for address in ("/p/law/datasets/", BASE):
        assert 'title="By the tokenizer of small and 1 more, estimated by language from 3 of 9 rows' in read(
            client, address
        )
    page = read(client, f"{BASE}?tab=statistics")
    assert "About 525 tokens." in page
    assert re.search(r"<code>th</code></th><td[^>]*>6</td><td[^>]*>100</td>.*?>0\.50</td>", page)
    assert "none cut" in page


def test_the_access_tab_tells_who_may_do_what_and_who_did(version, researcher, curator, viewer, project, client_of):
    closed = User.objects.create(username="left", is_active=False)
    Membership.objects.create(user=closed, project=project, role="curator")
    User.objects.create(username="root", is_superuser=True)
    asker = User.objects.create(username="asker")
    Membership.objects.create(user=asker, project=project, role="curator")
    ask_for_review(version, restricted=True, actor=asker)
    sign_version(version, checklist=EVERY_POINT, note="read them all", actor=curator)
    snapshot = {"datasets": {"law@1": {"sha256": version.sha256}}}
    make_run(project, number=4, name="learner", state="finished", snapshot=snapshot)
    BundleExport.objects.create(
        project=project, kind="dataset", name="law@1", content_sha256=version.sha256, manifest_sha256="ab" * 32,
        key="00" * 32, bytes=1, path="/nowhere", created_by=researcher,
    )  # fmt: skip
    client = client_of(viewer)
    page = read(client, f"{BASE}?tab=access")
    people = {one.username: one for one in client.get(f"{BASE}?tab=access").context["people"]}
    assert {name: (one.changes, one.why_not) for name, one in people.items()} == {
        "asker": (True, "Asked for its review."),
        "curator": (True, "Has signed already."),
        "left": (False, "The account is closed."),
        "researcher": (True, "Made this version."),
        "viewer": (False, "The role does not include reviews."),
    }
    assert "read them all" in page
    assert "root." in page
    assert "#4 learner" in page
    assert "abababab" in page
    assert "the rights of law@1 allow train, distil, evaluate, not publish" in page


def test_the_access_tab_costs_the_same_however_many_members(
    version, project, viewer, client_of, django_assert_max_num_queries
):
    client = client_of(viewer)
    with django_assert_max_num_queries(80) as few:
        read(client, f"{BASE}?tab=access")
    for number in range(30):
        person = User.objects.create(username=f"member-{number}")
        Membership.objects.create(user=person, project=project, role="curator")
    with django_assert_max_num_queries(len(few) + 2):
        read(client, f"{BASE}?tab=access")


def test_choices_of_a_recipe_tell_where_each_version_stands(
    project, version, curator, project_admin, django_assert_num_queries
):
    from chanote.curation.services import withdraw_version

    project.reviews_data = True
    project.save()
    approved = take(project, sections(3), slug="good", actor=project_admin)
    ask_for_review(approved, actor=project_admin)
    sign_version(approved, checklist=EVERY_POINT, actor=curator)
    waiting = take(project, sections(4), slug="waits", actor=project_admin)
    ask_for_review(waiting, actor=project_admin)
    gone = take(project, sections(5), slug="gone", actor=project_admin)
    withdraw_version(gone, reason="broken", actor=curator)
    with django_assert_num_queries(10):
        choices = read_options(project).of_dataset("cpt", "data")
    told = {one.value: (one.label, one.refused) for one in choices}
    closed = "only approved versions may be learnt from"
    assert told["good@1"] == ("good, version 1, approved", "")
    assert told["waits"] == ("waits, newest (now version 1, in review)", closed)
    assert told["law@1"] == ("law, version 1, draft", closed)
    assert told["gone@1"] == ("gone, version 1, withdrawn", "serves nothing any more")
    project.reviews_data = False
    project.save()
    told = {one.value: (one.label, one.refused) for one in read_options(project).of_dataset("cpt", "data")}
    assert told["law@1"] == ("law, version 1", "")
    assert told["waits@1"] == ("waits, version 1, in review", "")
