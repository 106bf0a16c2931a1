"""Two requests at once on a real database file: a signature counts once, and nobody's own counts at all."""

import threading
from typing import Any

import pytest
from curated_rows import EVERY_POINT, sections, take
from django.db import connections

from chanote.accounts.models import Membership, Project, User
from chanote.curation.models import Standing, State
from chanote.curation.services import CurationRefused, ask_for_review, sign_version


@pytest.fixture
def reviewed(installation):
    project = Project.objects.create(slug="race", name="Race")
    people = {name: User.objects.create(username=name) for name in ("importer", "asker", "first", "second")}
    for person in people.values():
        Membership.objects.create(user=person, project=project, role="curator")
    version = take(project, sections(3), actor=people["importer"])
    ask_for_review(version, restricted=True, actor=people["asker"])
    return version, people


def sign_at_once(version: Any, people: list[User]) -> list[str]:
    """Every person signs in a thread and a connection of their own, all let go together; the refusals."""
    own = connections["default"]
    start = threading.Barrier(len(people))
    refused: list[str] = []

    def act(person: User) -> None:
        connections["default"] = type(own)({**own.settings_dict}, "default")
        start.wait(60)
        try:
            sign_version(version, checklist=EVERY_POINT, actor=person)
        except CurationRefused as refusal:
            refused.append(str(refusal))
        finally:
            connections["default"].close()

    threads = [threading.Thread(target=act, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return refused


def test_two_people_at_once_both_sign(reviewed):
    version, people = reviewed
    assert sign_at_once(version, [people["first"], people["second"]]) == []
    standing = Standing.objects.get(version=version)
    assert standing.state == State.RESTRICTED
    assert {standing.first_by, standing.second_by} == {people["first"], people["second"]}


def test_one_person_twice_at_once_and_the_one_who_asked_sign_once(reviewed):
    version, people = reviewed
    refused = sign_at_once(version, [people["first"], people["first"], people["first"], people["asker"]])
    assert len(refused) == 3
    standing = Standing.objects.get(version=version)
    assert (standing.state, standing.first_by, standing.second_by) == ("in_review", people["first"], None)
    assert standing.signatures.count() == 1
