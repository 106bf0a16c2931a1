"""Public links to frozen boards, attacked: nothing but the snapshot, no cookie, nothing after revoking, no guessing."""

import hashlib
import json
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from chanote.accounts.models import Membership, User
from chanote.accounts.services import create_token
from chanote.api.throttles import METER
from chanote.audit.models import AuditEvent
from chanote.boards.models import Sample, SharedLink
from chanote.boards.services import BoardError
from chanote.boards.sharing import grant_link, revoke_link
from chanote.boards.snapshots import freeze_board
from chanote.datasets.models import DatasetVersion
from tests.board_rows import BoardRows, rate

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static")]


@pytest.fixture(autouse=True)
def _count_from_nothing():
    METER.forget()
    yield
    METER.forget()


@pytest.fixture
def rows(project, tmp_path):
    found = BoardRows(project, tmp_path)
    found.board.title = "Open book"
    found.board.save()
    task = found.task("law-qa")
    found.score("trained", task, rate(30, 10))
    found.score("base", task, rate(22, 18))
    return found


@pytest.fixture
def snapshot(rows):
    return freeze_board(rows.board, reason="Secret reason")


@pytest.fixture
def admin(project):
    found = User.objects.create_user("boss", password="pass word that is long")
    Membership.objects.create(user=found, project=project, role="admin")
    return found


@pytest.fixture
def anyone():
    return Client()


def address(token, name="board", *rest):
    return reverse(f"shared_boards:{name}", args=[token, *rest])


def allow(rows, *uses):
    # As a later version of the platform or a withdrawn exception would: versions themselves refuse to be changed.
    QuerySet.update(DatasetVersion.objects.filter(pk=rows.version.pk), uses=list(uses))


def test_whoever_has_the_address_reads_the_board_and_nothing_else(snapshot, anyone, rows):
    _, token = grant_link(snapshot)
    answer = anyone.get(address(token))
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "Open book, snapshot 1" in page
    assert snapshot.sha256 in page
    assert not re.search(r'(href|action|src)="(?!/static/|/shared/boards/|#)', page)
    for hidden in ("Secret reason", "csrf", "Log in", "Profile", "What is the fine number", "<form", "<script"):
        assert hidden not in page
    body = anyone.get(address(token, "export", "json")).content
    assert hashlib.sha256(body).hexdigest() == snapshot.sha256
    rows.score("third", rows.task("law-qa"), rate(40, 0))
    assert "third" not in anyone.get(address(token)).content.decode()


def test_no_cookie_is_set_and_nobody_shall_index_or_keep_it(snapshot, anyone, client_of, researcher):
    _, token = grant_link(snapshot)
    for client in (anyone, client_of(researcher)):
        for path in (address(token), address(token, "export", "csv"), address("x" * 43)):
            answer = client.get(path)
            assert not answer.cookies
            assert answer["X-Robots-Tag"].startswith("noindex")
            assert (answer["Referrer-Policy"], answer["Cache-Control"]) == ("no-referrer", "no-store")
    assert 'name="robots" content="noindex' in anyone.get(address(token)).content.decode()


def test_a_revoked_link_an_expired_one_and_one_that_never_was_are_the_same_404(snapshot, anyone, admin):
    link, token = grant_link(snapshot)
    _, late = grant_link(snapshot, expires=timezone.now() + timedelta(hours=1))
    assert anyone.get(address(late)).status_code == 200
    revoke_link(link, actor=admin)
    SharedLink.objects.exclude(pk=link.pk).update(expires=timezone.now() - timedelta(seconds=1))
    answers = [anyone.get(address(one)) for one in (token, late, "A" * 43, "short", f"{token}x", token[:-1])]
    assert {one.status_code for one in answers} == {404}
    assert len({one.content for one in answers}) == 1
    for name, rest in (("export", "json"), ("items", 1)):
        assert anyone.get(address(token, name, rest)).status_code == 404


def test_the_token_is_long_and_random_and_stored_nowhere(snapshot, admin):
    tokens = {grant_link(snapshot, actor=admin)[1] for _ in range(20)}
    assert len(tokens) == 20
    assert {len(one) for one in tokens} == {43}
    told = json.dumps(list(AuditEvent.objects.values("verb", "detail", "object_name")), default=str)
    kept = json.dumps(list(SharedLink.objects.values()), default=str)
    assert not [one for one in tokens if one in told + kept]


def test_a_stored_hash_opens_nothing(snapshot, anyone):
    link, _ = grant_link(snapshot)
    assert anyone.get(address(link.token_sha256)).status_code == 404
    assert anyone.get(address(link.token_sha256[:43])).status_code == 404


def test_nothing_can_be_written_through_a_link(snapshot, anyone):
    _, token = grant_link(snapshot)
    for method in ("post", "put", "patch", "delete"):
        assert getattr(anyone, method)(address(token)).status_code == 405
    with CaptureQueriesContext(connection) as caught:
        anyone.get(address(token))
    assert not [
        one["sql"] for one in caught if not one["sql"].startswith("SELECT") and "django_cache" not in one["sql"]
    ]


def test_guessing_is_slowed_down(snapshot, anyone, settings):
    settings.API_REQUESTS_PER_MINUTE = {**settings.API_REQUESTS_PER_MINUTE, "shared": 5}
    _, token = grant_link(snapshot)
    codes = [
        anyone.get(address("A" * 43), headers={"X-Forwarded-For": f"10.0.0.{place}"}).status_code for place in range(12)
    ]
    assert codes.count(429) >= 2
    answer = anyone.get(address(token))
    assert answer.status_code == 429
    assert int(answer["Retry-After"]) >= 1


def test_items_are_shown_only_where_they_were_granted_and_rights_allow_it(snapshot, anyone, rows):
    evaluation = snapshot.content["tables"][0]["models"][0]["evaluation"]
    _, plain = grant_link(snapshot)
    assert anyone.get(address(plain, "items", evaluation)).status_code == 404
    allow(rows, "evaluate")
    with pytest.raises(BoardError, match="Grant the link without items"):
        grant_link(snapshot, with_items=True)
    allow(rows, "evaluate", "publish")
    Sample.objects.filter(evaluation=evaluation, item="item-0").update(output="<b>call 081-234-5678</b>")
    _, token = grant_link(snapshot, with_items=True)
    page = anyone.get(address(token, "items", evaluation)).content.decode()
    assert "What is the fine number 0?" in page
    assert "081-234-5678" not in page
    assert "<b>call" not in page
    assert address(token, "items", evaluation) in anyone.get(address(token)).content.decode()
    # What the snapshot does not show is not shown, whoever asks by number.
    other = rows.score("third", rows.task("law-qa"), rate(40, 0))
    assert anyone.get(address(token, "items", other.pk)).status_code == 404
    assert anyone.get(address(token, "items", 10**12)).status_code == 404
    # Rights that are taken back close the items of links that are out already.
    allow(rows, "evaluate")
    assert anyone.get(address(token, "items", evaluation)).status_code == 404
    assert "/items/" not in anyone.get(address(token)).content.decode()


def test_only_an_admin_grants_and_revokes_and_the_log_tells_of_both(snapshot, client_of, admin, researcher, stranger):
    base = reverse("boards:snapshot", args=["law", "suite", 1])
    assert client_of(researcher).post(f"{base}links/").status_code == 403
    assert client_of(stranger).post(f"{base}links/").status_code == 404
    boss = client_of(admin)
    answer = boss.post(f"{base}links/", {"expires": "", "with_items": ""})
    found = re.search(r"http://testserver(/shared/boards/[\w-]{43}/)", answer.content.decode())
    assert found is not None
    assert answer["Cache-Control"] == "no-store"
    assert found[1] not in boss.get(base).content.decode()
    assert Client().get(found[1]).status_code == 200
    link = SharedLink.objects.get()
    assert client_of(researcher).post(f"{base}links/{link.pk}/revoke/").status_code == 403
    assert boss.post(f"{base}links/{link.pk}/revoke/").status_code == 302
    assert Client().get(found[1]).status_code == 404
    assert "Revoked" in boss.get(base).content.decode()
    verbs = list(AuditEvent.objects.order_by("pk").values_list("verb", "actor__username"))
    assert verbs[-2:] == [("board.shared", "boss"), ("board.unshared", "boss")]


def test_a_time_that_is_over_is_refused_with_the_way_out(snapshot, client_of, admin):
    base = reverse("boards:share", args=["law", "suite", 1])
    answer = client_of(admin).post(base, {"expires": "2020-01-01T00:00"})
    assert answer.status_code == 422
    assert "choose a later time, or none" in answer.content.decode()
    assert not SharedLink.objects.exists()


def test_links_over_rest(snapshot, client, admin, researcher):
    base = "/api/v1/projects/law/boards/suite/snapshots/1/links/"

    def headers(user):
        _, token = create_token(user, name=user.username, scopes=["boards:read", "boards:write"], days=1)
        return {"Authorization": f"Bearer {token}"}

    own, other = headers(admin), headers(researcher)
    assert client.post(base, {}, content_type="application/json", headers=other).status_code == 403
    made = client.post(base, {}, content_type="application/json", headers=own)
    assert made.status_code == 201
    assert Client().get(made.json()["address"]).status_code == 200
    (listed,) = client.get(base, headers=other).json()["results"]
    assert "address" not in listed
    assert listed["state"] == "open"
    assert client.delete(f"{base}{listed['id']}/", headers=other).status_code == 403
    assert client.delete(f"{base}{listed['id']}/", headers=own).json()["state"] == "revoked"
    assert Client().get(made.json()["address"]).status_code == 404
    assert client.post(base, {"with_items": True}, content_type="application/json", headers=own).status_code == 422
