"""The guard suite of a name: on every task a model must surely be worse by less than the margin set beforehand."""

import pytest
from django.urls import reverse

from chanote.audit.models import AuditEvent
from chanote.boards.aliases import AliasKept, create_alias, move_alias, set_suite
from chanote.boards.services import BoardError, update_board
from tests.board_rows import BoardRows, rate

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static")]
PAGE = reverse("boards:alias", args=["law", "candidate"])
API = "/api/v1/projects/law/aliases/candidate/"


@pytest.fixture
def rows(project, tmp_path):
    found = BoardRows(project, tmp_path)
    law, sums = found.task("law"), found.task("sums")
    for name, right, kept in (("base", 300, 300), ("first", 320, 298), ("second", 318, 290), ("third", 330, 285)):
        found.score(name, law, rate(right, 400 - right))
        found.score(name, sums, rate(kept, 400 - kept))
    update_board(found.board, title="Suite", question="", baseline=found.model("base"))
    return found


@pytest.fixture
def candidate(rows):
    alias = create_alias(project=rows.project, name="candidate", guard=rows.board)
    move_alias(alias, rows.model("first"))
    return alias


def test_what_is_only_not_surely_worse_does_not_pass_a_suite(rows, candidate):
    # Two of 400 law answers are lost: no significant loss, and yet not surely less than half a point.
    set_suite(candidate, {"law@1": 0.005, "sums@1": 0.05})
    candidate.refresh_from_db()
    with pytest.raises(AliasKept, match=r"second is surely not worse than first by its margins\. Undecided on law@1"):
        move_alias(candidate, rows.model("second"))
    assert AuditEvent.objects.get(verb="alias.kept").detail["model"] == "second"
    set_suite(candidate, {"law@1": 0.05, "sums@1": 0.05})
    candidate.refresh_from_db()
    report = move_alias(candidate, rows.model("second"))
    assert {one.task.reference: one.check.margin for one in report.found} == {"law@1": 0.05, "sums@1": 0.05}
    assert candidate.model.slug == "second"


def test_a_suite_against_the_base_keeps_what_was_forgotten_in_small_steps(rows, candidate):
    set_suite(candidate, {"sums@1": 0.03}, against_base=True)
    candidate.refresh_from_db()
    with pytest.raises(
        AliasKept, match=r"third is surely not worse than base by its margins\. third has lost 4 points"
    ):
        move_alias(candidate, rows.model("third"))
    update_board(rows.board, title="Suite", question="", baseline=None)
    candidate.refresh_from_db()
    with pytest.raises(AliasKept, match="has no baseline with scores; set one on the board"):
        move_alias(candidate, rows.model("third"))


def test_what_is_not_measured_does_not_pass(rows, candidate):
    rows.task("new")
    rows.score("half", rows.task("sums"), rate(300, 100))
    set_suite(candidate, {"law@1": 0.05, "new@1": 0.05})
    candidate.refresh_from_db()
    with pytest.raises(AliasKept, match="half has no score on law@1, new@1 of board suite, which the guard suite of"):
        move_alias(candidate, rows.model("half"))


@pytest.mark.parametrize(
    ("suite", "words"),
    [
        ({"nothing@1": 0.02}, "nothing@1 is no task of the project"),
        ({"law@9": 0.02}, "law@9 is no task of the project"),
        ({"law": 0.02}, "law is no task of the project"),
        ({"law@1": 0.0}, "the margin of law@1 is 0; give a share above 0"),
        ({"law@1": 2.0}, "the margin of law@1 is 2"),
        ({"law@1": float("nan")}, "the margin of law@1 is nan"),
    ],
)
def test_a_suite_that_is_none_is_refused_with_the_way_out(candidate, suite, words):
    with pytest.raises(BoardError, match=words):
        set_suite(candidate, suite)
    candidate.refresh_from_db()
    assert candidate.suite == {}


def test_people_set_the_suite_on_the_page(rows, candidate, browser, client_of, viewer, stranger):
    law, sums = (rows.project.tasks.get(slug=name) for name in ("law", "sums"))
    address = f"{PAGE}suite/"
    given = {"against": "base", f"task-{law.pk}": "2", f"task-{sums.pk}": ""}
    assert client_of(viewer).post(address, given).status_code == 403
    assert client_of(stranger).post(address, given).status_code == 404
    assert browser.post(address, given).status_code == 302
    candidate.refresh_from_db()
    assert (candidate.suite, candidate.against_base) == ({"law@1": 0.02}, True)
    event = AuditEvent.objects.get(verb="alias.suite_set")
    assert (event.actor.username, event.detail) == ("researcher", {"suite": {"law@1": 0.02}, "against_base": True})
    page = browser.get(PAGE).content.decode()
    assert f'name="task-{law.pk}" value="2.0"' in page
    assert "margin 0.02" in client_of(viewer).get(PAGE).content.decode()
    refused = browser.post(address, {"against": "model", f"task-{law.pk}": "-1"})
    assert refused.status_code == 422
    assert "the margin of law@1 is -0.01" in refused.content.decode()
    moved = browser.post(PAGE, {"model": "second"})
    assert "What the gate saw" in moved.content.decode()


def test_the_suite_over_rest(rows, candidate, browser):
    def change(body):
        return browser.patch(API, body, content_type="application/json")

    assert change({"suite": {"law@1": 0.02}, "against_base": True}).json()["suite"] == {"law@1": 0.02}
    assert browser.get(API).json()["against_base"] is True
    both = change({"model": "second", "suite": {}})
    assert both.status_code == 422
    assert "margins are set beforehand" in both.content.decode()
    assert change({}).status_code == 422
    assert change({"suite": {"law@1": "much"}}).status_code == 400
    assert change({"suite": {"law@1": 5}}).status_code == 422
    assert change({"suite": {}}).json()["against_base"] is False
    # Without a suite a significant loss stops it, however small.
    assert "second has lost 2.0 points on sums@1 against first" in change({"model": "second"}).content.decode()
    assert change({"suite": {"law@1": 0.05, "sums@1": 0.05}}).status_code == 200
    assert change({"model": "second"}).json()["model"] == "second"
