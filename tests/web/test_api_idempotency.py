"""A create that is sent twice happens once."""

import json
from datetime import timedelta

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from chanote.accounts.services import create_token
from chanote.api.idempotency import ABANDONED, KEPT, claim_key
from chanote.api.models import IdempotencyKey
from chanote.api.permissions import SCOPES
from chanote.recipes.models import Recipe, Revision

TEXT = "base: tiny\nstages:\n  - {kind: sft, steps: 5, data: [{dataset: talk}]}\n"
RECIPES = "/api/v1/projects/law/recipes/"


@pytest.fixture
def post(researcher):
    _, text = create_token(researcher, "mine", list(SCOPES), 30)
    client = Client(headers={"Authorization": f"Bearer {text}"})

    def send(path, body, key=None):
        headers = {"Idempotency-Key": key} if key else {}
        return client.post(path, json.dumps(body), content_type="application/json", headers=headers)

    return send


def test_the_same_request_gets_the_same_answer_and_no_second_recipe(post):
    body = {"slug": "mine", "yaml": TEXT}
    first, again = post(RECIPES, body, "one"), post(RECIPES, body, "one")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again["Idempotent-Replay"] == "true"
    assert again["Location"] == first["Location"]
    assert Recipe.objects.count() == 1


def test_without_a_key_the_second_create_is_refused(post):
    body = {"slug": "mine", "yaml": TEXT}
    assert post(RECIPES, body).status_code == 201
    assert post(RECIPES, body).status_code == 400


def test_a_key_for_another_content_or_address_is_refused(post):
    post(RECIPES, {"slug": "mine", "yaml": TEXT}, "one")
    other = post(RECIPES, {"slug": "other", "yaml": TEXT}, "one")
    assert other.status_code == 422
    assert other.json()["problems"][0]["field"] == "Idempotency-Key"
    elsewhere = post(f"{RECIPES}mine/revisions/", {"slug": "mine", "yaml": TEXT}, "one")
    assert elsewhere.status_code == 422
    assert list(Recipe.objects.values_list("slug", flat=True)) == ["mine"]


def test_the_order_of_fields_makes_no_other_request(post):
    post(RECIPES, {"slug": "mine", "yaml": TEXT}, "one")
    assert post(RECIPES, {"yaml": TEXT, "slug": "mine"}, "one").status_code == 201


def test_a_refused_request_may_be_mended_under_its_key(post):
    assert post(RECIPES, {"slug": "mine", "yaml": "stages: ["}, "one").status_code == 422
    assert not IdempotencyKey.objects.exists()
    assert post(RECIPES, {"slug": "mine", "yaml": TEXT}, "one").status_code == 201


def test_while_the_first_is_at_work_the_second_waits_its_turn(post, researcher):
    body = {"slug": "mine", "yaml": TEXT}
    post(RECIPES, body, "one")
    IdempotencyKey.objects.update(status=None, response=None)
    again = post(RECIPES, body, "one")
    assert again.status_code == 409
    assert Revision.objects.count() == 1


def test_an_abandoned_request_is_taken_over_and_its_first_sender_cannot_finish(researcher):
    claim, answered = claim_key(researcher, "one", "a" * 64)
    assert answered is None
    IdempotencyKey.objects.update(started=timezone.now() - ABANDONED - timedelta(seconds=1))
    successor, answered = claim_key(researcher, "one", "a" * 64)
    assert (answered, successor.fence) == (None, 1)
    late = IdempotencyKey.objects.filter(pk=claim.pk, fence=claim.fence, status=None)
    assert not late.update(status=201)


def test_effect_and_answer_are_written_together_or_not_at_all(post, monkeypatch):
    from chanote.api import idempotency

    def fail(claim, response):
        assert Recipe.objects.exists()
        raise RuntimeError("the machine stops here")

    monkeypatch.setattr(idempotency, "_store", fail)
    with pytest.raises(RuntimeError), transaction.atomic():
        post(RECIPES, {"slug": "mine", "yaml": TEXT}, "one")
    assert not Recipe.objects.exists()


def test_a_key_is_forgotten_after_a_day(post):
    body = {"slug": "mine", "yaml": TEXT}
    post(RECIPES, body, "one")
    IdempotencyKey.objects.update(created=timezone.now() - KEPT - timedelta(seconds=1))
    assert post(RECIPES, body, "one").status_code == 400


def test_keys_of_different_people_do_not_meet(post, project_admin):
    post(RECIPES, {"slug": "mine", "yaml": TEXT}, "one")
    claim, answered = claim_key(project_admin, "one", "b" * 64)
    assert answered is None


def test_an_unreadable_key_is_refused(post):
    assert post(RECIPES, {"slug": "mine", "yaml": TEXT}, "x" * 201).status_code == 400
