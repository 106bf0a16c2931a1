"""Requests for exception: nobody approves their own, by any door; what is approved lets pass one use, for a while."""

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chanote.accounts.models import User
from chanote.accounts.services import create_token
from chanote.audit.models import AuditEvent
from chanote.cli import main
from chanote.rights.exceptions import (
    RightsRefused,
    approve_exception,
    refuse_exception,
    request_exception,
    revoke_exception,
    take_back_exception,
)
from chanote.rights.models import ExceptionRequest, State
from chanote.rights.rules import check_export, judge_version
from tests.rights_rows import approve, make_model, make_source, make_texts

pytestmark = pytest.mark.django_db
REST = "/api/v1/projects/law/exceptions/"
PAGES = "/p/law/rights/exceptions/"


@pytest.fixture
def closed(project):
    return make_texts(project, [(make_source(project, uses=["evaluate"]), 4)])


def soon(days: int = 5):
    return timezone.localdate() + timedelta(days=days)


@pytest.fixture
def asked(project, closed, curator):
    """By a curator, who may decide on everybody else's."""
    return request_exception(
        project=project, subject=closed, use="train", reason="A study.", until=soon(), actor=curator
    )


def rest(user, method: str, path: str, body=None):
    _, token = create_token(user, f"token {timezone.now().timestamp()}", ["rights:read", "rights:write"], 1)
    return Client(headers={"Authorization": f"Bearer {token}"}).generic(
        method, path, "" if body is None else __import__("json").dumps(body), content_type="application/json"
    )


class TestNobodyApprovesTheirOwn:
    def test_through_the_service(self, asked, curator):
        for decide in (approve_exception, refuse_exception):
            with pytest.raises(RightsRefused, match="You asked for this exception, so somebody else must decide"):
                decide(asked, note="Me.", actor=curator)
        asked.refresh_from_db()
        assert asked.state == State.WAITING

    def test_also_not_as_superuser(self, project, closed):
        root = User.objects.create(username="root", is_superuser=True, is_staff=True)
        own = request_exception(project=project, subject=closed, use="train", reason="Mine.", until=soon(), actor=root)
        with pytest.raises(RightsRefused, match="somebody else must decide"):
            approve_exception(own, actor=root)

    def test_through_rest(self, asked, curator):
        answer = rest(curator, "POST", f"{REST}{asked.pk}/approve/", {})
        assert answer.status_code == 409
        assert "somebody else must decide" in answer.json()["detail"]

    def test_through_the_page(self, asked, curator, client_of):
        page = client_of(curator).get(asked.get_absolute_url()).content.decode()
        assert "You asked for this, so somebody else decides" in page
        assert 'value="approve"' not in page
        answer = client_of(curator).post(asked.get_absolute_url(), {"do": "approve"})
        assert answer.status_code == 422
        assert "somebody else must decide" in answer.content.decode()

    def test_through_the_command_line(self, asked, curator, capsys):
        assert main(["rights", "approve", str(asked.pk), "--as", "curator", "--project", "law"]) == 4
        assert "somebody else must decide" in capsys.readouterr().err

    def test_through_the_admin(self, asked, client_of):
        root = User.objects.create(username="root", is_superuser=True, is_staff=True)
        address = f"/admin/rights/exceptionrequest/{asked.pk}/change/"
        page = client_of(root).get(address)
        assert page.status_code == 200
        assert 'name="_save"' not in page.content.decode()
        assert client_of(root).post(address, {"state": "approved"}).status_code == 403
        assert client_of(root).post("/admin/rights/exceptionrequest/add/", {}).status_code == 403

    def test_nor_does_the_database_take_it(self, asked, curator, researcher):
        for values in (
            {"state": State.APPROVED, "decided_by": curator},
            {"state": State.APPROVED, "decided_by": None},
            {"state": State.WAITING, "decided_by": researcher},
            {"state": "nonsense"},
        ):
            with pytest.raises(IntegrityError), transaction.atomic():
                ExceptionRequest.objects.filter(pk=asked.pk).update(**values)
        ExceptionRequest.objects.filter(pk=asked.pk).update(state=State.APPROVED, decided_by=researcher)
        with pytest.raises(IntegrityError), transaction.atomic():
            ExceptionRequest.objects.filter(pk=asked.pk).update(requested_by=researcher)

    def test_of_two_who_decide_at_once_the_first_counts(self, asked, project_admin, researcher, project):
        second = User.objects.create(username="second", is_superuser=True)
        one, other = (ExceptionRequest.objects.get(pk=asked.pk) for _ in range(2))
        refuse_exception(one, note="No.", actor=project_admin)
        with pytest.raises(RightsRefused, match="This request is refused by project-admin and is not decided again"):
            approve_exception(other, actor=second)
        assert AuditEvent.objects.filter(verb="exception.approved").count() == 0


WHO = ("viewer", "researcher", "curator", "project-admin", "root")
ACTS = ("approve", "refuse", "revoke", "take-back")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_sequence_of_acts_by_any_door_leaves_an_exception_that_its_asker_approved(
    data, project, viewer, researcher, curator, project_admin
):
    User.objects.get_or_create(username="root", defaults={"is_superuser": True, "is_staff": True})
    people = {one.username: one for one in User.objects.all()}
    deciders = {"curator", "project-admin", "root"}
    number = ExceptionRequest.objects.count()
    source = make_source(project, f"source-{number}", uses=[])
    version = make_texts(project, [(source, 1)], slug=f"texts-{number}")
    asker = people[data.draw(st.sampled_from(["researcher", "curator", "root"]))]
    own = request_exception(project=project, subject=version, use="train", reason="Why not.", until=soon(), actor=asker)
    for _ in range(data.draw(st.integers(1, 4))):
        who, act = people[data.draw(st.sampled_from(WHO))], data.draw(st.sampled_from(ACTS))
        door = data.draw(st.sampled_from(["service", "rest", "page", "command"]))
        before = ExceptionRequest.objects.get(pk=own.pk)
        _act(own, who, act, door)
        own.refresh_from_db()
        if own.state == State.APPROVED and before.state != State.APPROVED:
            assert before.state == State.WAITING
            assert act == "approve"
            assert own.decided_by == who != asker
            assert who.username in deciders
        if own.state != before.state:
            event = AuditEvent.objects.filter(object_kind="exceptionrequest", object_id=str(own.pk)).first()
            assert (event.verb, event.actor) == (f"exception.{own.state}", who)
    passes = not judge_version(version, "train").refusals
    assert passes == (own.state == State.APPROVED)


def _act(own: ExceptionRequest, who: User, act: str, door: str) -> None:
    match door:
        case "rest":
            body = {"reason": "So."} if act == "revoke" else {"note": "So."}
            rest(who, "POST", f"{REST}{own.pk}/{act}/", body)
        case "page":
            client = Client()
            client.force_login(who, backend="django.contrib.auth.backends.ModelBackend")
            client.post(own.get_absolute_url(), {"do": act.replace("-", "_"), "note": "So."})
        case "command":
            more = ["--reason", "So."] if act == "revoke" else [] if act == "take-back" else ["--note", "So."]
            main(["rights", act, str(own.pk), "--as", who.username, "--project", "law", *more])
        case _:
            own = ExceptionRequest.objects.get(pk=own.pk)
            try:
                match act:
                    case "approve":
                        approve_exception(own, actor=who)
                    case "refuse":
                        refuse_exception(own, note="So.", actor=who)
                    case "revoke":
                        revoke_exception(own, reason="So.", actor=who)
                    case _:
                        take_back_exception(own, actor=who)
            except (RightsRefused, PermissionDenied):
                pass


def test_the_way_from_the_refusal_to_the_exception(project, closed, researcher, curator, client_of):
    [refusal] = judge_version(closed, "train").refusals
    client = client_of(researcher)
    form = client.get(refusal.ask).content.decode()
    assert 'value="mixed@1"' in form
    assert '<option value="train" selected>' in form
    answer = client.post(
        refusal.ask, {"version": "mixed@1", "use": "train", "reason": "A study of tax.", "until": str(soon())}
    )
    own = ExceptionRequest.objects.get()
    assert answer["Location"] == own.get_absolute_url()
    assert judge_version(closed, "train").refusals, "asking alone lets nothing pass"
    assert "A study of tax." in client_of(curator).get(PAGES).content.decode()
    client_of(curator).post(own.get_absolute_url(), {"do": "approve", "note": "For this study."})
    assert not judge_version(closed, "train").refusals
    assert "approved by curator" in client.get("/p/law/datasets/mixed/?tab=card").content.decode()
    client_of(curator).post(own.get_absolute_url(), {"do": "revoke", "note": "The study is over."})
    assert judge_version(closed, "train").refusals


def test_an_approved_exception_lets_exactly_its_use_of_its_version_pass(project, closed, researcher, curator):
    approve(project, closed, "train", asks=researcher, decides=curator)
    newer = make_texts(project, [(closed.spans.get().source, 5)])
    assert not judge_version(closed, "train").refusals
    assert judge_version(closed, "distil").refusals
    assert judge_version(newer, "train").refusals


def test_an_exception_ends_with_its_last_day(project, closed, researcher, curator):
    own = approve(project, closed, "train", asks=researcher, decides=curator)
    ExceptionRequest.objects.filter(pk=own.pk).update(until=timezone.localdate())
    assert not judge_version(closed, "train").refusals
    ExceptionRequest.objects.filter(pk=own.pk).update(until=timezone.localdate() - timedelta(days=1))
    assert judge_version(closed, "train").refusals


def test_a_model_may_be_published_by_exception(project, researcher, curator, client_of):
    model = make_model(project, "teacher", uses=["evaluate"])
    assert check_export(model)
    approve(project, model, "publish", asks=researcher, decides=curator)
    assert check_export(model) == []
    assert "approved by curator" in client_of(researcher).get("/p/law/models/teacher/").content.decode()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"use": "evaluate"}, "allow evaluate without an exception"),
        ({"reason": "  "}, "Say why"),
        ({"until": "2020-01-01"}, "is past"),
        ({"until": "2099-01-01"}, "366 days at most"),
        ({"use": "sell"}, "not a valid choice"),
        ({"version": "mixed@9"}, "has no such version"),
        ({"version": ""}, "Name a dataset version or a model"),
    ],
)
def test_a_request_that_makes_no_sense_is_told(closed, researcher, given, sentence):
    body = {"version": "mixed@1", "use": "train", "reason": "A study.", "until": str(soon()), **given}
    answer = rest(researcher, "POST", REST, body)
    assert answer.status_code in (400, 422)
    assert sentence in answer.content.decode() or "may not be blank" in answer.content.decode()
    assert not ExceptionRequest.objects.exists()


def test_viewers_ask_for_nothing_and_researchers_decide_nothing(project, closed, viewer, researcher, asked, client_of):
    assert client_of(viewer).get(f"{PAGES}-/new/").status_code == 403
    with pytest.raises(PermissionDenied):
        approve_exception(asked, actor=researcher)
    with pytest.raises(PermissionDenied):
        approve_exception(asked, actor=None)
    with pytest.raises(PermissionDenied, match="only they can take it back"):
        take_back_exception(asked, actor=researcher)


def test_a_request_is_taken_back_over_rest_by_who_asked(curator, project_admin, asked):
    path = f"{REST}{asked.pk}/take-back/"
    assert rest(project_admin, "POST", path).status_code == 403
    assert rest(curator, "POST", path).json()["state"] == "taken_back"
    assert rest(curator, "POST", path).status_code == 409


def test_somebody_else_refuses_over_rest_and_says_why(project_admin, asked):
    path = f"{REST}{asked.pk}/refuse/"
    answer = rest(project_admin, "POST", path, {"note": "The letter is missing."})
    assert (answer.status_code, answer.json()["state"]) == (200, "refused")
    assert answer.json()["decided_by"] == project_admin.username
    assert rest(project_admin, "POST", path, {}).status_code == 409, "what is decided stays"


def test_somebody_else_approves_over_rest_and_ends_it(project_admin, asked):
    answer = rest(project_admin, "POST", f"{REST}{asked.pk}/approve/", {"note": "Letter 12."})
    assert (answer.status_code, answer.json()["state"], answer.json()["live"]) == (200, "approved", True)
    assert rest(project_admin, "POST", f"{REST}{asked.pk}/revoke/", {}).status_code == 400, "it needs a reason"
    ended = rest(project_admin, "POST", f"{REST}{asked.pk}/revoke/", {"reason": "The study ended."})
    assert (ended.status_code, ended.json()["state"], ended.json()["live"]) == (200, "revoked", False)
