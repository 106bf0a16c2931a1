"""Who may approve a dataset version: never who made it or asked for it, on no path, in no order."""

import pytest
from curated_rows import EVERY_POINT, sections, take
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection, transaction
from django_fsm import ConcurrentTransition, TransitionNotAllowed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chanote.accounts.models import Membership, User
from chanote.audit.models import AuditEvent
from chanote.curation.models import USABLE, BypassError, Standing, State
from chanote.curation.rules import explain_refusal
from chanote.curation.selectors import state_of, states_of
from chanote.curation.services import (
    CurationRefused,
    ask_for_review,
    restrict_version,
    return_version,
    sign_version,
    withdraw_version,
)

PEOPLE = ("importer", "asker", "first", "second", "administrator")


def make_people(project):
    people = {}
    for name in PEOPLE:
        people[name] = User.objects.create(username=name, is_superuser=name == "administrator")
        if name != "administrator":
            Membership.objects.create(user=people[name], project=project, role="curator")
    return people


@pytest.fixture
def people(project):
    return make_people(project)


@pytest.fixture
def version(project, people):
    return take(project, sections(5), actor=people["importer"])


def sign(version, person):
    return sign_version(version, checklist=EVERY_POINT, actor=person)


def test_a_version_is_a_draft_until_somebody_asks(version, people):
    assert state_of(version) == State.DRAFT
    ask_for_review(version, note="please", actor=people["asker"])
    assert state_of(version) == State.IN_REVIEW
    assert states_of([version]) == {version.pk: State.IN_REVIEW}
    sign(version, people["first"])
    assert state_of(version) == State.APPROVED


@pytest.mark.parametrize("name", ["importer", "asker"])
def test_neither_the_importer_nor_the_one_who_asked_may_sign(version, people, name):
    ask_for_review(version, actor=people["asker"])
    with pytest.raises(CurationRefused, match="somebody else must sign it"):
        sign(version, people[name])
    assert state_of(version) == State.IN_REVIEW


def test_an_administrator_who_asked_may_not_sign_either(version, people):
    ask_for_review(version, actor=people["administrator"])
    with pytest.raises(CurationRefused, match="You asked for this review"):
        sign(version, people["administrator"])


def test_a_viewer_may_neither_ask_nor_sign_and_a_stranger_learns_nothing(version, people, viewer, stranger):
    from django.http import Http404

    with pytest.raises(PermissionDenied):
        ask_for_review(version, actor=viewer)
    ask_for_review(version, actor=people["asker"])
    with pytest.raises(PermissionDenied):
        sign(version, viewer)
    with pytest.raises(Http404):
        sign(version, stranger)


def test_restricted_data_takes_two_people(version, people):
    ask_for_review(version, restricted=True, actor=people["asker"])
    sign(version, people["first"])
    assert state_of(version) == State.IN_REVIEW
    with pytest.raises(CurationRefused, match="second signature is somebody else's"):
        sign(version, people["first"])
    sign(version, people["second"])
    assert state_of(version) == State.RESTRICTED


def test_an_open_point_of_the_checklist_is_named(version, people):
    ask_for_review(version, actor=people["asker"])
    with pytest.raises(CurationRefused, match="personal data was looked at"):
        sign_version(version, checklist=["origin", "overlap", "sample"], actor=people["first"])


def test_what_comes_of_restricted_data_is_restricted_too(project, version, people):
    ask_for_review(version, restricted=True, actor=people["asker"])
    newer = take(project, sections(6), actor=people["importer"])
    assert state_of(newer) == State.DRAFT
    assert ask_for_review(newer, restricted=False, actor=people["asker"]).restricted


def test_restricting_an_approved_version_is_its_second_signature(version, people):
    ask_for_review(version, actor=people["asker"])
    sign(version, people["first"])
    for name in ("first", "asker", "importer"):
        with pytest.raises(CurationRefused):
            restrict_version(version, reason="names found", actor=people[name])
    restrict_version(version, reason="names found", actor=people["second"])
    standing = Standing.objects.get(version=version)
    assert (standing.state, standing.first_by, standing.second_by) == ("restricted", people["first"], people["second"])


def test_returning_voids_the_signatures_and_needs_a_reason(version, people):
    ask_for_review(version, restricted=True, actor=people["asker"])
    sign(version, people["first"])
    with pytest.raises(CurationRefused, match="Give a reason"):
        return_version(version, reason=" ", actor=people["second"])
    return_version(version, reason="row 3 is cut off", actor=people["second"])
    assert state_of(version) == State.DRAFT
    ask_for_review(version, restricted=True, actor=people["asker"])
    sign(version, people["second"])
    assert state_of(version) == State.IN_REVIEW


def test_withdrawal_is_final_and_refuses_every_use(version, people):
    withdraw_version(version, reason="the owner asked", actor=people["first"])
    with pytest.raises(CurationRefused):
        ask_for_review(version, actor=people["asker"])
    for use in ("train", "distil", "evaluate", "publish"):
        assert "is withdrawn and serves nothing" in explain_refusal(version, use)


def test_a_project_that_reviews_its_data_trains_on_approved_versions_only(project, version, people):
    assert explain_refusal(version, "train") == ""
    version.project.reviews_data = True
    assert "is a draft that nobody has reviewed" in explain_refusal(version, "train")
    assert explain_refusal(version, "evaluate") == ""
    ask_for_review(version, actor=people["asker"])
    assert "waits for its review" in explain_refusal(version, "distil")
    sign(version, people["first"])
    assert explain_refusal(version, "train") == ""
    restrict_version(version, reason="names", actor=people["second"])
    assert explain_refusal(version, "train") == ""
    assert "its rows stay in the house" in explain_refusal(version, "publish")


def test_every_step_is_in_the_audit_log_and_in_the_history(version, people):
    ask_for_review(version, note="ready", actor=people["asker"])
    sign(version, people["first"])
    withdraw_version(version, reason="owner", actor=people["first"])
    verbs = list(AuditEvent.objects.filter(verb__startswith="dataset.").order_by("pk").values_list("verb", flat=True))
    assert verbs[-3:] == ["dataset.review_asked", "dataset.approved", "dataset.withdrawn"]
    history = Standing.objects.get(version=version).history.order_by("history_id")
    assert [(one.state, one.history_user) for one in history] == [
        ("in_review", people["asker"]), ("approved", people["first"]), ("withdrawn", people["first"]),
    ]  # fmt: skip


def test_code_cannot_set_a_state_past_the_transitions(version, people):
    ask_for_review(version, actor=people["asker"])
    standing = Standing.objects.get(version=version)
    with pytest.raises(AttributeError):
        standing.state = State.APPROVED
    with pytest.raises(BypassError):
        Standing.objects.filter(version=version).update(state=State.APPROVED)
    with pytest.raises(TransitionNotAllowed):
        standing.approve()
    with pytest.raises(BypassError):
        Standing(version=version, state=State.APPROVED).save()
    with pytest.raises(BypassError):
        Standing.objects.bulk_update([standing], ["state"])


@pytest.mark.parametrize(
    "values",
    [
        "state='approved'",
        "state='approved', first_by_id=asked_by_id",
        "state='approved', first_by_id=made_by_id",
        "state='restricted', restricted=true, first_by_id={first}",
        "state='restricted', restricted=true, first_by_id={first}, second_by_id={first}",
        "state='restricted', restricted=true, first_by_id={first}, second_by_id=asked_by_id",
        "state='approved', restricted=true, first_by_id={first}",
        "state='blessed'",
    ],
)
def test_the_database_itself_refuses_an_unsigned_approval(version, people, values):
    standing = ask_for_review(version, actor=people["asker"])
    change = values.format(first=people["first"].pk)
    statement = f"UPDATE curation_standing SET {change} WHERE id = {standing.pk}"  # noqa: S608
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert state_of(version) == State.IN_REVIEW


def test_of_two_decisions_on_the_same_state_the_second_is_refused(version, people):
    ask_for_review(version, actor=people["asker"])
    one, other = (Standing.objects.get(version=version) for _ in range(2))
    one.send_back()
    one.save()
    other.first_by = people["first"]
    other.approve()
    with pytest.raises(ConcurrentTransition), transaction.atomic():
        other.save()
    assert state_of(version) == State.DRAFT


ACTS = ("ask", "ask_restricted", "sign", "return", "restrict", "withdraw")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(st.tuples(st.sampled_from(ACTS), st.sampled_from(PEOPLE)), max_size=12))
def test_no_sequence_of_acts_approves_without_enough_others(project, version, people, acts):
    """Whatever five people do in whatever order: usable means signed by others than its makers, twice if restricted."""
    point = transaction.savepoint()
    for act, name in acts:
        person = people[name]
        calls = {
            "ask": lambda: ask_for_review(version, actor=person),  # noqa: B023
            "ask_restricted": lambda: ask_for_review(version, restricted=True, actor=person),  # noqa: B023
            "sign": lambda: sign(version, person),  # noqa: B023
            "return": lambda: return_version(version, reason="r", actor=person),  # noqa: B023
            "restrict": lambda: restrict_version(version, reason="r", actor=person),  # noqa: B023
            "withdraw": lambda: withdraw_version(version, reason="r", actor=person),  # noqa: B023
        }
        try:
            calls[act]()
        except CurationRefused:
            continue
        standing = Standing.objects.get(version=version)
        if standing.state in USABLE:
            signers = {standing.first_by_id, standing.second_by_id} - {None}
            assert not signers & {people["importer"].pk, standing.asked_by_id}
            assert len(signers) == (2 if standing.state == State.RESTRICTED else 1)
            assert (standing.state == State.RESTRICTED) == standing.restricted
    transaction.savepoint_rollback(point)
