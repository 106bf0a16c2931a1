"""Ways around the review that somebody would try; each ends where the rule says."""

import json

import pytest
from curated_rows import EVERY_POINT, sections, take
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.urls import NoReverseMatch, reverse

from chanote.accounts.models import Membership, User
from chanote.accounts.services import create_token, remove_member, set_role, update_project
from chanote.api.permissions import SCOPES
from chanote.audit.models import AuditEvent
from chanote.building.services import BuildRefused, start_build
from chanote.curation.models import Standing, State
from chanote.curation.rules import explain_refusal
from chanote.curation.selectors import state_of
from chanote.curation.services import (
    CurationRefused,
    ask_for_review,
    restrict_version,
    return_version,
    sign_version,
    withdraw_version,
)
from chanote.datasets.making import make_version, read_sourced_rows
from chanote.recipes.services import save_revision
from chanote.runs.services import LaunchRefused, launch_run
from tests.rights_rows import OPEN, TEXT, write_text_recipe

V = "/api/v1/projects/law/datasets/law/versions/1"


@pytest.fixture(autouse=True)
def _own_home(settings, tmp_path):
    settings.HOME = tmp_path


@pytest.fixture
def people(project):
    found = {}
    for name in ("maker", "asker", "first", "second"):
        found[name] = User.objects.create(username=name)
        Membership.objects.create(user=found[name], project=project, role="curator")
    return found


@pytest.fixture
def version(project, people):
    return take(project, sections(5), actor=people["maker"], uses=OPEN)


def sign(version, person):
    return sign_version(version, checklist=EVERY_POINT, actor=person)


def approve(version, people):
    ask_for_review(version, actor=people["asker"])
    sign(version, people["first"])
    return version


def draw(project, version, slug, *, actor):
    """A dataset of its own with most of the rows of a version."""
    rows = list(read_sourced_rows(version))[1:]
    return make_version(
        project=project, slug=slug, kind="text", rows=rows, drawn_from=[version], operation={"name": "some"},
        reason="fewer", actor=actor,
    )  # fmt: skip


def test_restricted_data_is_not_opened_by_asking_again(version, people):
    restrict_version(version, reason="names in it", actor=people["second"])
    assert ask_for_review(version, restricted=False, actor=people["asker"]).restricted
    assert sign(version, people["first"]).state == State.IN_REVIEW


def test_nor_by_having_it_returned_first(version, people):
    ask_for_review(version, actor=people["asker"])
    restrict_version(version, reason="names in it", actor=people["second"])
    return_version(version, reason="cut off", actor=people["second"])
    ask_for_review(version, restricted=False, actor=people["asker"])
    assert sign(version, people["first"]).signers_needed == 2
    assert state_of(version) == State.IN_REVIEW


def test_nor_by_drawing_its_rows_through_several_datasets(project, version, people):
    restrict_version(version, reason="names in it", actor=people["second"])
    once = draw(project, version, "once", actor=people["maker"])
    twice = draw(project, once, "twice", actor=people["maker"])
    assert not Standing.objects.filter(version=once).exists()
    assert explain_refusal(twice, "publish") == (
        "twice@1 comes of law@1, which is restricted data: its rows stay in the house. Publish another version."
    )
    assert explain_refusal(twice, "train") == ""
    assert ask_for_review(twice, actor=people["asker"]).restricted


def test_nor_by_importing_its_file_under_another_name(project, version, people):
    restrict_version(version, reason="names in it", actor=people["second"])
    copy = take(project, sections(5), slug="copy", actor=people["maker"], uses=OPEN)
    assert "comes of law@1" in explain_refusal(copy, "publish")
    other = take(project, sections(4), slug="other", actor=people["maker"], uses=OPEN)
    assert explain_refusal(other, "publish") == ""


def test_a_draft_that_is_called_restricted_is_not_published_where_nobody_reviews(version, people):
    assert explain_refusal(version, "publish") == ""
    restrict_version(version, reason="names in it", actor=people["second"])
    assert "law@1 is called restricted data: its rows stay in the house" in explain_refusal(version, "publish")


def test_what_is_in_review_when_its_origin_becomes_restricted_takes_two(project, version, people):
    approve(version, people)
    drawn = draw(project, version, "drawn", actor=people["maker"])
    ask_for_review(drawn, actor=people["asker"])
    restrict_version(version, reason="names found", actor=people["second"])
    assert sign(drawn, people["first"]).state == State.IN_REVIEW
    assert sign(drawn, people["second"]).state == State.RESTRICTED


def test_what_was_approved_before_its_origin_became_restricted_stays_in_the_house(project, version, people):
    approve(version, people)
    drawn = approve(draw(project, version, "drawn", actor=people["maker"]), people)
    assert explain_refusal(drawn, "publish") == ""
    restrict_version(version, reason="names found", actor=people["second"])
    assert state_of(drawn) == State.APPROVED
    assert "drawn@1 comes of law@1" in explain_refusal(drawn, "publish")


def test_what_is_made_of_approved_rows_is_not_approved(project, version, people):
    project.reviews_data = True
    project.save()
    approve(version, people)
    merged = draw(project, version, "merged", actor=people["asker"])
    assert state_of(merged) == State.DRAFT
    assert "is a draft that nobody has reviewed" in explain_refusal(merged, "train")
    revision = write_text_recipe(project, people["maker"], "merged")
    set_role(user=people["maker"], project=project, role="researcher")
    with pytest.raises(LaunchRefused, match="merged@1 is a draft that nobody has reviewed"):
        launch_run(revision=revision, owner=people["maker"])


@pytest.mark.parametrize("caps", ["", ", enters: 0.99", ", weight: 0.001, max_rows: 1"])
def test_a_draft_is_found_in_every_corner_of_a_mixture(project, version, researcher, people, caps):
    project.reviews_data = True
    project.save()
    approve(version, people)
    take(project, sections(3), slug="raw", actor=people["maker"])
    mixed = f"{TEXT % 'law@1'}".replace("  # kept too", f"\n      - {{dataset: raw{caps}}}")
    revision = save_revision(project=project, slug="mixed", yaml=mixed, author=researcher)
    with pytest.raises(LaunchRefused, match="raw@1 is a draft that nobody has reviewed"):
        launch_run(revision=revision, owner=researcher)


def test_a_withdrawn_version_leaves_the_queue_and_comes_back_into_no_run_and_no_build(
    project, version, researcher, people
):
    approve(version, people)
    revision = write_text_recipe(project, researcher, "law")
    run = launch_run(revision=revision, owner=researcher)
    elsewhere = take(project, sections(7), slug="other", actor=people["maker"])
    untouched = launch_run(revision=write_text_recipe(project, researcher, "other", slug="else"), owner=researcher)
    withdraw_version(version, reason="the owner asked", actor=people["second"])
    run.refresh_from_db()
    untouched.refresh_from_db()
    assert (run.state, untouched.state) == ("cancelled", "queued")
    assert "law@1 was withdrawn" in AuditEvent.objects.get(verb="run.cancel_requested").detail["reason"]
    with pytest.raises(LaunchRefused, match="law@1 is withdrawn and serves nothing"):
        launch_run(revision=revision, owner=researcher)
    config = {"name": "again", "source": "law@1", "endpoint": "house"}
    with pytest.raises(BuildRefused, match="law@1 is withdrawn and serves nothing"):
        start_build(project=project, kind="translation", config=config, actor=people["maker"])
    assert state_of(elsewhere) == State.DRAFT


@pytest.mark.parametrize("how", ["viewer", "removed", "closed"])
def test_whoever_lost_the_role_since_the_review_was_asked_for_does_not_sign(
    version, people, project, project_admin, client_of, how
):
    ask_for_review(version, restricted=True, actor=people["asker"])
    sign(version, people["first"])
    second = people["second"]
    _, text = create_token(second, "program", list(SCOPES), 30)
    client = client_of(second)
    if how == "viewer":
        set_role(user=second, project=project, role="viewer", actor=project_admin)
    elif how == "removed":
        remove_member(Membership.objects.get(user=second, project=project), actor=project_admin)
    else:
        second.is_active = False
        second.save()
    body = json.dumps({"act": "sign", "checklist": EVERY_POINT})
    headers = {"Authorization": f"Bearer {text}"}
    status = {"viewer": 403, "removed": 404, "closed": 401}[how]
    answer = client.post(f"{V}/standing/", body, content_type="application/json", headers=headers)
    assert answer.status_code == status, answer.content
    page = client.post("/p/law/datasets/law/1/review/", {"act": "sign", "checklist": EVERY_POINT})
    assert page.status_code == {"viewer": 403, "removed": 404, "closed": 302}[how]
    assert Standing.objects.get(version=version).second_by is None
    with pytest.raises(PermissionDenied if how == "viewer" else Http404):
        sign(version, User.objects.get(pk=second.pk))
    assert state_of(version) == State.IN_REVIEW


def test_who_was_made_admin_meanwhile_may_still_not_sign_their_own(version, people, project, project_admin):
    ask_for_review(version, actor=people["asker"])
    for name in ("maker", "asker"):
        set_role(user=people[name], project=project, role="admin", actor=project_admin)
        with pytest.raises(CurationRefused, match="somebody else must sign"):
            sign(version, people[name])


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
@pytest.mark.parametrize("address", [f"{V}/standing/", f"{V}/", "/api/v1/projects/law/datasets/law/"])
def test_rest_knows_no_way_to_write_a_state(version, people, client_of, method, address):
    ask_for_review(version, actor=people["asker"])
    _, text = create_token(people["second"], "program", list(SCOPES), 30)
    client = client_of(people["second"])
    body = json.dumps({"state": "approved", "first_by": people["first"].pk, "standing": {"state": "approved"}})
    answer = getattr(client, method)(
        address, body, content_type="application/json", headers={"Authorization": f"Bearer {text}"}
    )
    assert answer.status_code == 405
    assert state_of(version) == State.IN_REVIEW


def test_the_admin_has_no_import_and_no_way_back_into_an_earlier_state(version, people, client_of):
    root = User.objects.create(username="root", is_superuser=True, is_staff=True)
    approve(version, people)
    standing = withdraw_version(version, reason="owner", actor=people["first"])
    client = client_of(root)
    for table in ("standing", "signature", "changeset", "comment"):
        with pytest.raises(NoReverseMatch):
            reverse(f"admin:curation_{table}_import")
    approved = standing.history.get(state="approved")
    answer = client.post(f"/admin/curation/standing/{standing.pk}/history/{approved.pk}/", {"state": "approved"})
    assert answer.status_code == 403
    assert state_of(version) == State.WITHDRAWN
    client.post(f"/admin/accounts/user/{people['maker'].pk}/delete/", {"post": "yes"})
    assert User.objects.filter(username="maker").exists()


def test_only_an_admin_of_the_project_says_whether_it_reviews_its_data(project, people, project_admin):
    update_project(project, name=project.name, description="", reviews_data=True, actor=project_admin)
    with pytest.raises(PermissionDenied):
        update_project(project, name=project.name, description="", reviews_data=False, actor=people["maker"])
    project.refresh_from_db()
    assert project.reviews_data
    told = AuditEvent.objects.filter(verb="project.changed").latest("pk")
    assert (told.actor, told.detail["reviews_data"]) == (project_admin, True)
