"""Errands: started, watched, stopped, resumed, taken over; by those who may."""

import threading
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from chanote.accounts.models import Membership, Project, User
from chanote.audit.models import AuditEvent
from chanote.errands.doing import do_errand, do_here
from chanote.errands.kinds import KINDS, errand
from chanote.errands.leases import Superseded, claim, claim_expired, hold
from chanote.errands.models import Errand, State
from chanote.errands.services import ErrandRefused, resume_errand, start_errand, stop_errand
from chanote.errands.work import Stopped, WorkRefused

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(settings, tmp_path):
    settings.HOME = tmp_path
    return Project.objects.create(slug="law", name="Law desk")


@pytest.fixture
def curator(project):
    user = User.objects.create_user("mali", password="a long enough one")
    Membership.objects.create(project=project, user=user, role="curator")
    return user


@pytest.fixture
def count_to():
    """An errand that counts, keeping how far it is in its directory; it stops after three when told so."""

    @errand("test.count")
    def count(work):
        kept = work.directory / "count"
        done = int(kept.read_text()) if kept.exists() else 0
        while done < work.config["to"]:
            done += 1
            kept.write_text(str(done))
            if done == work.config.get("breaks_at"):
                raise WorkRefused("The number three is forbidden here.")
            work.report(done, work.config["to"], "counting", tokens=10 * done)
        return {"counted": done, "link": "/"}

    yield "test.count"
    del KINDS["test.count"]


def start(project, kind, actor=None, **config):
    return start_errand(kind, project=project, actor=actor, config=config, title="Count")


def test_an_errand_ends_with_its_result(project, curator, count_to):
    done = do_here(start(project, count_to, curator, to=5))
    assert (done.state, done.result["counted"], done.done, done.total) == (State.FINISHED, 5, 5, 5)
    assert done.cost == {"tokens": 50}
    verbs = list(AuditEvent.objects.order_by("id").values_list("verb", flat=True))
    assert verbs == ["errand.started", "errand.finished"]


def test_a_refusal_is_told_in_its_own_words_and_the_work_goes_on_where_it_was(project, count_to):
    one = do_here(start(project, count_to, to=5, breaks_at=3))
    assert (one.state, one.fault) == (State.FAILED, "The number three is forbidden here.")
    resume_errand(one, actor=None)
    again = do_here(one)
    assert (again.state, again.result["counted"]) == (State.FINISHED, 5)


def test_a_bug_is_a_fault_not_a_silence(project, count_to):
    one = do_here(start(project, count_to))
    assert one.state == State.FAILED
    assert one.fault == "It broke off: KeyError: 'to'"


@pytest.fixture
def endless(curator):
    @errand("test.endless")
    def endless(work):
        for number in range(10**9):
            work.report(number, 10**9)
            if number == 3:
                stop_errand(work.errand, actor=curator)
            time.sleep(0.01)

    yield "test.endless"
    del KINDS["test.endless"]


def test_a_person_stops_a_running_errand(project, curator, endless):
    one = do_here(start(project, endless))
    assert one.state == State.STOPPED
    with pytest.raises(ErrandRefused, match="has ended already"):
        stop_errand(one, actor=curator)


def test_one_that_waits_stops_at_once(project, count_to):
    one = start(project, count_to, to=1)
    stop_errand(one, actor=None)
    one.refresh_from_db()
    assert one.state == State.STOPPED
    assert claim(one.pk) is None


def test_leaving_puts_it_back_into_the_queue(project, count_to):
    one = start(project, count_to, to=5)
    claimed, leaving = claim(one.pk), threading.Event()
    leaving.set()
    do_errand(claimed, claimed.fence, leaving=leaving)
    one.refresh_from_db()
    assert (one.state, one.fault) == (State.QUEUED, "")


def test_of_two_processes_only_the_later_writes(project, count_to):
    one = claim(start(project, count_to, to=5).pk)
    Errand.objects.filter(pk=one.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    again = claim_expired(one)
    assert again.fence == one.fence + 1
    assert claim_expired(one) is None
    with pytest.raises(Superseded):
        hold(one.pk, one.fence)
    do_errand(one, one.fence)
    one.refresh_from_db()
    assert one.state == State.RUNNING


def test_slots_limit_how_many_run(project, count_to, settings):
    settings.ERRAND_SLOTS = 1
    first, second = (start(project, count_to, to=1) for _ in range(2))
    assert claim().pk == first.pk
    assert claim() is None
    assert claim(second.pk) is None


def test_a_viewer_sees_but_may_not_stop(project, count_to, client, curator):
    viewer = User.objects.create_user("view", password="a long enough one")
    Membership.objects.create(project=project, user=viewer, role="viewer")
    one = start(project, count_to, to=1)
    client.force_login(viewer)
    page = client.get(one.get_absolute_url())
    assert page.status_code == 200
    assert b'value="stop"' not in page.content
    assert client.post(one.get_absolute_url(), {"do": "stop"}).status_code == 403
    client.force_login(curator)
    assert b'value="stop"' in client.get(one.get_absolute_url()).content
    assert client.post(one.get_absolute_url(), {"do": "stop"}).status_code == 302
    one.refresh_from_db()
    assert one.state == State.STOPPED


def test_the_progress_reloads_its_page_at_the_end(project, count_to, client, curator):
    client.force_login(curator)
    one = start(project, count_to, to=5)
    address = f"{one.get_absolute_url()}progress/"
    assert "HX-Refresh" not in client.get(address)
    do_here(one)
    assert client.get(address)["HX-Refresh"] == "true"
    listed = client.get(f"/p/{project.slug}/errands/").content.decode()
    assert "Count" in listed
    assert "5 of 5" in listed


def test_over_rest(project, count_to, client, curator):
    client.force_login(curator)
    one = start(project, count_to, to=5)
    base = f"/api/v1/projects/{project.slug}/errands/"
    assert client.get(base).json()["results"][0]["title"] == "Count"
    assert client.post(f"{base}{one.pk}/stop/").json()["state"] == "stopped"
    refused = client.post(f"{base}{one.pk}/stop/")
    assert refused.status_code == 422
    assert "has ended already" in refused.content.decode()
    assert client.post(f"{base}{one.pk}/resume/").json()["state"] == "queued"
    assert client.get(f"{base}{one.pk + 1}/").status_code == 404


def test_stopped_passes_through_a_careless_except(project):
    assert not issubclass(Stopped, WorkRefused)
