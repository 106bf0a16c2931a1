"""API tokens on the profile page: shown once, hashed, scoped, ended by their owner."""

import re
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone
from knox.crypto import hash_token

from chanote.accounts.models import ApiToken
from chanote.accounts.services import create_token
from chanote.audit.models import AuditEvent

pytestmark = pytest.mark.django_db
FORM = {"name": "notebook", "scopes": ["runs:read", "datasets:read"], "days": "30"}


@pytest.fixture
def browser(client_of, researcher):
    return client_of(researcher)


def test_a_new_token_is_shown_once_and_kept_as_a_hash(browser, researcher):
    answer = browser.post("/profile/", FORM)
    text = re.search(r'<code id="token">(chanote_\w+)</code>', answer.content.decode())[1]
    token = ApiToken.objects.get(user=researcher)
    assert token.digest == hash_token(text)
    assert text not in str(token.__dict__)
    assert text not in browser.get("/profile/").content.decode()
    assert "no-store" in answer["Cache-Control"]


def test_a_token_holds_its_scopes_and_ends_in_time(browser, researcher):
    browser.post("/profile/", FORM)
    token = ApiToken.objects.get(user=researcher)
    assert token.scopes == ["datasets:read", "runs:read"]
    assert abs(token.expiry - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)


def test_the_audit_log_names_the_token_without_its_text(browser, researcher):
    text = re.search(r"chanote_\w{20,}", browser.post("/profile/", FORM).content.decode())[0]
    event = AuditEvent.objects.get(verb="token.created")
    assert event.actor == researcher
    assert event.detail == {"name": "notebook", "scopes": ["datasets:read", "runs:read"], "days": 30}
    assert text[8:] not in str(event.__dict__)


def test_sending_the_form_again_makes_no_second_token(browser, researcher):
    browser.post("/profile/", FORM)
    again = browser.post("/profile/", FORM)
    assert again.status_code == 422
    assert "There is already a token called notebook" in again.content.decode()
    assert ApiToken.objects.filter(user=researcher).count() == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scopes": []}, "Choose at least one thing that the token may do."),
        ({"scopes": ["runs:own"]}, "runs:own is not one of the available choices"),
        ({"days": "0"}, "greater than or equal to 1"),
        ({"days": "4000"}, "less than or equal to 366"),
        ({"name": "  "}, "This field is required."),
    ],
)
def test_bad_input_is_told_at_the_field_and_nothing_typed_is_lost(browser, change, said):
    answer = browser.post("/profile/", FORM | change)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert said in page
    assert ('value="notebook"' in page) == ("name" not in change)
    assert not ApiToken.objects.exists()


def test_the_service_refuses_what_the_form_would(researcher):
    with pytest.raises(ValidationError) as refused:
        create_token(researcher, name="", scopes=["everything"], days=0)
    assert set(refused.value.message_dict) == {"name", "scopes", "days"}


def test_a_revoked_token_is_gone(browser, researcher):
    browser.post("/profile/", FORM)
    page = browser.post("/profile/tokens/revoke/", {"name": "notebook"}, follow=True).content.decode()
    assert "The token notebook is revoked." in page
    assert not ApiToken.objects.exists()
    assert AuditEvent.objects.get(verb="token.revoked").detail == {"name": "notebook"}


def test_nobody_revokes_the_token_of_another(client_of, researcher, viewer):
    create_token(researcher, name="notebook", scopes=["runs:read"], days=1)
    assert client_of(viewer).post("/profile/tokens/revoke/", {"name": "notebook"}).status_code == 404
    assert ApiToken.objects.count() == 1


def test_a_token_that_ended_says_so(browser, researcher):
    token, _ = create_token(researcher, name="old", scopes=["runs:read"], days=1)
    ApiToken.objects.filter(pk=token.pk).update(expiry=timezone.now() - timedelta(hours=1))
    assert "Ended" in browser.get("/profile/").content.decode()
