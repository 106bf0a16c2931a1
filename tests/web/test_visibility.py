"""A stranger learns nothing: no row of any table, no page of any project. A member sees the own project only."""

import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from django.apps import apps
from django.db import models
from django.test import Client
from django.urls import URLPattern, get_resolver
from django.utils import timezone

from chanote.accounts.models import Membership, Project, User
from chanote.accounts.visibility import VisibleQuerySet
from chanote.audit.models import AuditEvent

pytestmark = pytest.mark.django_db

VISIBLE = [
    model
    for model in apps.get_models()
    if isinstance(getattr(model, "objects", None), models.Manager)
    and isinstance(model._default_manager.get_queryset(), VisibleQuerySet)
]
serial = count(1)


class World:
    """One row of any table in one project, with the rows that it needs, made on demand."""

    def __init__(self, project: Project) -> None:
        self.rows: dict[Any, models.Model] = {Project: project}

    def row(self, model: Any) -> Any:
        if model not in self.rows:
            values = {field.name: self.fill(field) for field in model._meta.concrete_fields if self.needs(field)}
            self.rows[model] = model.objects.create(**values)
        return self.rows[model]

    @staticmethod
    def needs(field: Any) -> bool:
        if field.is_relation:
            # A request for exception is about a version or a model.
            return not field.null or field.related_model is Project or str(field) == "rights.ExceptionRequest.version"
        return not (
            field.auto_created or field.null or field.has_default() or getattr(field, "auto_now", False)
        ) and not (getattr(field, "auto_now_add", False))

    def fill(self, field: Any) -> Any:
        if field.is_relation:
            if field.related_model is User:
                return User.objects.create(username=f"owner-{next(serial)}")
            return self.row(field.related_model)
        if field.choices:
            return field.choices[0][0]
        match field:
            case models.DateTimeField():
                return timezone.now()
            case models.DateField():
                return timezone.localdate()
            case models.JSONField():
                return {}
            case models.BooleanField():
                return False
            case models.BinaryField():
                return b""
            case models.FloatField():
                return 0.5  # within every share
            case models.IntegerField():
                return next(serial)
            case _:
                return f"row-{next(serial)}"


@pytest.fixture
def other_project(db):
    return Project.objects.create(slug="tax", name="Tax desk")


def test_every_table_of_a_project_has_the_filter():
    names = {model.__name__ for model in VISIBLE}
    assert {"Project", "Membership", "Dataset", "DatasetVersion", "Model", "Recipe", "Revision"} <= names
    assert {"Run", "Attempt", "RunEvent", "Checkpoint", "MetricSeries", "Task", "Board", "Evaluation"} <= names
    assert {"Sample", "AuditEvent"} <= names


@pytest.mark.parametrize("model", VISIBLE, ids=lambda model: model._meta.label)
def test_rows_are_seen_by_members_of_their_project_only(model, project, other_project, viewer, stranger):
    here, there = World(project).row(model), World(other_project).row(model)
    outsider = User.objects.create(username="outsider")
    Membership.objects.create(user=outsider, project=other_project, role="viewer")
    closed = User.objects.create(username="closed", is_active=False)
    Membership.objects.create(user=closed, project=project, role="admin")
    administrator = User.objects.create(username="root", is_superuser=True)

    def seen(user: Any) -> set[Any]:
        return set(model.objects.visible_to(user).values_list("pk", flat=True)) & {here.pk, there.pk}

    assert seen(stranger) == set()
    assert seen(closed) == set()
    assert seen(viewer) == {here.pk}
    assert seen(outsider) == {there.pk}
    assert seen(administrator) == {here.pk, there.pk}


def test_events_outside_any_project_are_for_administrators(viewer):
    AuditEvent.objects.create(verb="user.created", object_name="somebody")
    assert not AuditEvent.objects.visible_to(viewer).exists()
    assert AuditEvent.objects.visible_to(User(is_superuser=True)).count() == 1


def walk(patterns: list[Any], prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield route, pattern
        else:
            yield from walk(pattern.url_patterns, route)


def project_addresses(project: Project) -> list[str]:
    """Every address below /p/<project>/ with some value in each place."""
    values = {
        "int": "1",
        "uuid": "00000000-0000-0000-0000-000000000001",
        "slug": "thing",
        "str": "thing",
        "path": "thing",
    }
    found = []
    for route, _ in walk(get_resolver().url_patterns):
        if not route.startswith("p/<slug:project>/"):
            continue
        address = "/" + route.replace("<slug:project>", project.slug)
        for kind, value in values.items():
            while f"<{kind}:" in address:
                start = address.index(f"<{kind}:")
                address = address[:start] + value + address[address.index(">", start) + 1 :]
        assert "<" not in address, f"a place of {route} is not filled"
        found.append(address)
    return found


def ask(client: Client, address: str) -> Any:
    """GET, or POST where only that is served."""
    answer = client.get(address)
    return client.post(address) if answer.status_code == 405 else answer


def test_a_stranger_gets_404_for_every_address_of_a_project(project, client_of, stranger):
    client = client_of(stranger)
    addresses = project_addresses(project)
    assert len(addresses) > 12
    answers = {address: ask(client, address).status_code for address in addresses}
    assert {address: code for address, code in answers.items() if code != 404} == {}


def test_whoever_is_not_logged_in_is_sent_to_the_login(project, client):
    answers = {address: ask(client, address) for address in project_addresses(project)}
    other = {
        address: answer.status_code
        for address, answer in answers.items()
        if answer.status_code != 302 or not answer["Location"].startswith("/login/?next=/p/")
    }
    assert other == {}


def test_a_stranger_cannot_tell_a_project_from_nothing(project, client_of, stranger):
    client = client_of(stranger)
    here, nowhere = client.get(f"/p/{project.slug}/"), client.get("/p/no-such-project/")
    assert here.status_code == nowhere.status_code == 404
    pages = [re.sub(r'"X-CSRFToken": "\w+"', "", answer.content.decode()) for answer in (here, nowhere)]
    assert pages[0] == pages[1]


@pytest.mark.parametrize("name", ["project", "members", "audit"])
def test_members_see_the_pages_of_their_project(name, project, client_of, viewer):
    from django.urls import reverse

    answer = client_of(viewer).get(reverse(name, args=[project.slug]))
    assert answer.status_code == 200
    assert project.name in answer.content.decode()
