"""The queue page: who holds the slots, who waits and why, and who may change the order."""

import re

import pytest
from django.utils import timezone

from chanote.accounts.models import Membership, Project
from chanote.audit.models import AuditEvent
from chanote.runs.models import Attempt, Worker
from tests.run_rows import make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def worker(db):
    return Worker.objects.create(name="w", host="h", pid=1, heartbeat=timezone.now())


def waiting(page: str) -> list[str]:
    return re.findall(r'id="waiting-\d+"[^>]*>([^<]+)<', page)


def test_the_queue_shows_places_reasons_and_owners(project, researcher, client_of, worker):
    make_run(project, number=1, state="running", name="holder", owner=researcher)
    make_run(project, number=2, state="queued", name="first", owner=researcher)
    make_run(project, number=3, state="queued", name="second", owner=researcher)
    page = client_of(researcher).get("/p/law/queue/").content.decode()
    assert waiting(page) == ["first", "second"]
    assert "0 of 1 free" in page
    assert "Next in the queue: the device slot is held by holder (#1)." in page
    assert "Waits for first (#2) before it." in page


def test_a_missing_worker_is_said_once_for_all(project, researcher, client_of):
    make_run(project, number=1, state="queued")
    page = client_of(researcher).get("/p/law/queue/").content.decode()
    assert "No worker has ever been started on this installation" in page


def test_an_empty_queue_says_so(project, researcher, client_of, worker):
    page = client_of(researcher).get("/p/law/queue/").content.decode()
    assert "No run holds a slot." in page
    assert "Nothing waits." in page


def test_runs_of_other_projects_take_their_place_without_their_name(project, researcher, client_of, worker):
    other = Project.objects.create(slug="secret", name="Secret")
    make_run(other, number=1, state="queued", name="hidden-run", priority=1)
    make_run(project, number=1, state="queued", name="ours", priority=2)
    page = client_of(researcher).get("/p/law/queue/").content.decode()
    assert "hidden-run" not in page
    assert "Waits for a run of another project before it." in page
    assert "2 in all, 1 of other projects" in page


def test_an_admin_moves_a_run_and_the_log_names_who_did(project, project_admin, client_of, worker):
    for number in (1, 2, 3):
        make_run(project, number=number, state="queued")
    client = client_of(project_admin)
    page = client.post("/p/law/runs/3/move/", {"position": "1", "next": "/p/law/queue/"}, follow=True).content.decode()
    assert waiting(page) == ["law-3", "law-1", "law-2"]
    assert "law-3 is number 1 in the queue." in page
    assert AuditEvent.objects.get(verb="run.moved").actor == project_admin


@pytest.mark.parametrize("position", ["0", "9", "", "-1", "many"])
def test_a_place_that_does_not_exist_is_refused_in_words(project, project_admin, client_of, position):
    make_run(project, number=1, state="queued")
    answer = client_of(project_admin).post("/p/law/runs/1/move/", {"position": position}, follow=True)
    assert "The queue has places 1 to 1" in answer.content.decode()


def test_a_researcher_sees_no_buttons_and_may_not_move(project, researcher, client_of):
    made = make_run(project, number=1, state="queued")
    make_run(project, number=2, state="queued")
    client = client_of(researcher)
    assert "/move/" not in client.get("/p/law/queue/").content.decode()
    assert client.post("/p/law/runs/2/move/", {"position": "1"}).status_code == 403
    made.refresh_from_db()
    assert made.priority == 1


def test_an_admin_of_another_project_cannot_move_it(project, stranger, client_of):
    other = Project.objects.create(slug="other", name="Other")
    Membership.objects.create(user=stranger, project=other, role="admin")
    make_run(project, number=1, state="queued")
    assert client_of(stranger).post("/p/law/runs/1/move/", {"position": "1"}).status_code == 404
    assert client_of(stranger).post("/p/other/runs/1/move/", {"position": "1"}).status_code == 404


def test_the_queue_is_read_in_a_fixed_number_of_queries(
    project, researcher, client_of, worker, django_assert_max_num_queries
):
    for number in range(1, 40):
        make_run(project, number=number, state="queued")
    client = client_of(researcher)
    with django_assert_max_num_queries(16):
        assert len(waiting(client.get("/p/law/queue/").content.decode())) == 39
    assert Attempt.objects.count() == 39


def test_a_refresh_brings_the_queue_alone(project, researcher, client_of):
    page = client_of(researcher).get("/p/law/queue/", headers={"HX-Request": "true"}).content.decode()
    assert page.lstrip().startswith('<div id="queue"')
