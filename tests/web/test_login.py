"""Logging in, being locked out, and the first password."""

from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.test import Client
from django.utils import timezone

from chanote.accounts.models import User
from chanote.accounts.services import create_user, reset_password
from chanote.audit.models import AuditEvent

pytestmark = pytest.mark.django_db

WRONG = {"username": "viewer", "password": "wrong"}
RIGHT = {"username": "viewer", "password": "correct horse battery"}


def test_login_leads_home_or_where_one_wanted_to_go(client, viewer):
    assert client.get("/profile/")["Location"] == "/login/?next=/profile/"
    assert client.post("/login/", {**RIGHT, "next": "/profile/"})["Location"] == "/profile/"
    assert Client().post("/login/", RIGHT)["Location"] == "/"


def test_login_never_leads_to_another_site(client, viewer):
    assert client.post("/login/", {**RIGHT, "next": "https://example.org/"})["Location"] == "/"


def test_passwords_are_kept_as_argon2(viewer):
    assert viewer.password.startswith("argon2")


def test_a_wrong_password_says_how_many_tries_are_left_and_keeps_the_name(client, viewer):
    page = client.post("/login/", WRONG).content.decode()
    assert "Name or password is wrong. 4 more tries before a pause of 15 minutes." in page
    assert 'value="viewer"' in page
    assert "1 more try" not in page


def test_an_unknown_name_is_answered_like_a_known_one(client, viewer):
    known = client.post("/login/", WRONG).content.decode()
    unknown = client.post("/login/", {"username": "nobody", "password": "wrong"}).content.decode()
    sentence = "Name or password is wrong. 4 more tries"
    assert sentence in known
    assert sentence in unknown


def test_the_fifth_wrong_password_locks_the_name_and_says_until_when(client, viewer):
    for _ in range(4):
        assert client.post("/login/", WRONG).status_code == 200
    locked = client.post("/login/", WRONG)
    assert locked.status_code == 429
    assert 890 <= int(locked["Retry-After"]) <= 900
    assert "The next try is possible in 15 minutes, at" in locked.content.decode()
    refused = client.post("/login/", RIGHT)
    assert refused.status_code == 429
    assert client.get("/profile/").status_code == 302


def test_tries_during_the_pause_do_not_lengthen_it(client, viewer):
    for _ in range(5):
        client.post("/login/", WRONG)
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=10))
    refused = client.post("/login/", WRONG)
    assert refused.status_code == 429
    assert 290 <= int(refused["Retry-After"]) <= 300


def test_the_lock_opens_after_the_pause(client, viewer):
    for _ in range(5):
        client.post("/login/", WRONG)
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=16))
    assert client.post("/login/", RIGHT).status_code == 302


def test_another_name_is_not_locked_with_it(client, viewer, researcher):
    for _ in range(5):
        client.post("/login/", WRONG)
    assert client.post("/login/", {**RIGHT, "username": "researcher"}).status_code == 302


def test_logging_out_is_a_post(client_of, viewer):
    client = client_of(viewer)
    assert client.get("/logout/").status_code == 405
    assert client.post("/logout/")["Location"] == "/login/"
    assert client.get("/profile/").status_code == 302


class TestFirstPassword:
    @pytest.fixture
    def newcomer(self):
        return create_user("newcomer")

    @pytest.fixture
    def browser(self, client, newcomer):
        user, password = newcomer
        answer = client.post("/login/", {"username": "newcomer", "password": password})
        assert answer.status_code == 302
        return client

    @pytest.mark.parametrize("address", ["/", "/profile/", "/p/law/", "/admin/", "/nowhere/"])
    def test_every_page_leads_to_the_form(self, browser, address):
        assert browser.get(address)["Location"] == "/password/"

    @pytest.mark.parametrize("address", ["/password/", "/livez", "/readyz"])
    def test_the_form_and_the_checks_stay_open(self, browser, address):
        assert browser.get(address).status_code == 200

    def test_the_api_says_so_instead_of_leading_to_a_page(self, browser):
        answer = browser.get("/api/v1/projects/")
        assert answer.status_code == 403
        assert "first password" in answer.json()["detail"]

    def test_a_stream_is_refused_instead_of_led_to_a_page(self, browser):
        answer = browser.get("/p/law/events/", headers={"Accept": "text/event-stream"})
        assert answer.status_code == 403

    def test_a_fragment_leads_the_whole_page_there(self, browser):
        answer = browser.get("/", headers={"HX-Request": "true"})
        assert (answer.status_code, answer["HX-Redirect"]) == (204, "/password/")

    def test_the_new_password_opens_everything(self, browser, newcomer):
        _, password = newcomer
        form = {
            "old_password": password,
            "new_password1": "kite lamp river nine",
            "new_password2": "kite lamp river nine",
        }
        assert browser.post("/password/", form)["Location"] == "/"
        assert browser.get("/").status_code == 200
        user = User.objects.get(username="newcomer")
        assert not user.must_change_password
        assert AuditEvent.objects.filter(verb="password.changed", actor=user).count() == 1

    def test_the_one_time_password_cannot_be_kept(self, browser, newcomer):
        _, password = newcomer
        form = {"old_password": password, "new_password1": password, "new_password2": password}
        page = browser.post("/password/", form)
        assert page.status_code == 200
        assert "This is the password you have now" in page.content.decode()
        assert User.objects.get(username="newcomer").must_change_password

    @pytest.mark.parametrize("weak", ["short", "12345678901234", "newcomer-one"])
    def test_a_weak_password_is_refused(self, browser, newcomer, weak):
        _, password = newcomer
        browser.post("/password/", {"old_password": password, "new_password1": weak, "new_password2": weak})
        assert User.objects.get(username="newcomer").must_change_password


def test_a_reset_ends_every_session_and_asks_for_a_new_password(client, viewer):
    client.post("/login/", RIGHT)
    assert client.get("/profile/").status_code == 200
    password = reset_password(viewer)
    assert client.get("/profile/")["Location"].startswith("/login/")
    client.post("/login/", {"username": "viewer", "password": password})
    assert client.get("/profile/")["Location"] == "/password/"


def test_one_time_passwords_differ_and_are_never_written_down(db):
    (_, first), (_, second) = create_user("one"), create_user("two")
    assert first != second
    assert len(first.replace("-", "")) == 20
    told = " ".join(str(event.detail) + event.object_name for event in AuditEvent.objects.all())
    assert first not in told
