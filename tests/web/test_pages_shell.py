"""What all pages share: rail, crumbs, theme, policy, failures; and the tags that draw states, times and seals."""

import asyncio
import re
from array import array
from datetime import timedelta

import pytest
from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template import Context, Template
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path
from django.utils import timezone

from chanote.accounts.models import Membership, Project
from chanote.accounts.visibility import VisibleQuerySet
from chanote.runs.metrics import Points, append_points
from chanote.runs.models import Run
from chanote.urls import *  # noqa: F403
from chanote.urls import handler500, urlpatterns
from chanote.web.home import summarize
from chanote.web.projects import get_project
from chanote.web.site import VisibleAdmin
from chanote.web.templatetags.chanote import ago, draw_ticks, seal, span, spell_bytes, thousands

pytestmark = pytest.mark.django_db


def draw(source: str, **values: object) -> str:
    return Template("{% load chanote %}" + source).render(Context(values))


class TestRail:
    def test_it_names_the_project_and_marks_the_page(self, client_of, viewer):
        page = client_of(viewer).get("/p/law/members/").content.decode()
        assert "<small>Project</small>Law assistant" in page
        assert re.search(r'href="/p/law/members/" aria-current="page"', page)
        assert not re.search(r'href="/p/law/" aria-current="page"', page)

    def test_a_second_project_can_be_switched_to(self, client_of, viewer):
        tax = Project.objects.create(slug="tax", name="Tax desk")
        assert "Tax desk" not in client_of(viewer).get("/p/law/").content.decode()
        Membership.objects.create(user=viewer, project=tax, role="viewer")
        assert '<a href="/p/tax/">Tax desk</a>' in client_of(viewer).get("/p/law/").content.decode()

    def test_pages_outside_a_project_keep_the_last_one(self, client_of, viewer):
        Membership.objects.create(
            user=viewer, project=Project.objects.create(slug="zoo", name="Zoo desk"), role="viewer"
        )
        client = client_of(viewer)
        client.get("/p/zoo/")
        assert "<small>Project</small>Zoo desk" in client.get("/profile/").content.decode()

    def test_a_project_one_was_removed_from_is_forgotten(self, client_of, viewer):
        client = client_of(viewer)
        client.get("/p/law/")
        Membership.objects.all().delete()
        assert "Law assistant" not in client.get("/profile/").content.decode()

    def test_only_staff_finds_the_admin(self, client_of, viewer):
        assert 'href="/admin/"' not in client_of(viewer).get("/").content.decode()
        viewer.is_staff = True
        viewer.save()
        assert 'href="/admin/"' in client_of(viewer).get("/").content.decode()

    def test_the_number_of_queries_does_not_grow_with_the_projects(self, client_of, viewer, django_assert_num_queries):
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        client = client_of(viewer)
        client.get("/p/law/audit/")
        with CaptureQueriesContext(connection) as few:
            client.get("/p/law/audit/")
        for number in range(20):
            more = Project.objects.create(slug=f"p{number}", name=f"Project {number}")
            Membership.objects.create(user=viewer, project=more, role="viewer")
        with django_assert_num_queries(len(few)):
            client.get("/p/law/audit/")


class TestHome:
    def test_without_a_project_it_says_what_to_do(self, client_of, stranger):
        page = client_of(stranger).get("/").content.decode()
        assert "You are in no project yet" in page
        assert "<b>stranger</b>" in page

    def test_an_empty_project_shows_three_ways_to_begin(self, client_of, researcher):
        page = client_of(researcher).get("/p/law/").content.decode()
        assert "Three ways to begin" in page
        assert "No runs in progress, none in the queue, nothing waits for you." in page

    def test_the_summary_counts_in_words(self):
        assert summarize(1, 2, 1) == "1 run in progress, 2 in the queue, one thing waits for you."
        assert summarize(2, 0, 3) == "2 runs in progress, none in the queue, 3 things wait for you."

    def test_a_failed_run_waits_for_its_owner_only(self, client_of, researcher, curator, project, make_run):
        make_run("broken", state="failed", step=412, fault="The disk is full.", ended=timezone.now(), owner=researcher)
        page = client_of(researcher).get("/p/law/").content.decode()
        assert "broken failed at step 412" in page
        assert "The disk is full." in page
        other = client_of(curator).get("/p/law/").content.decode()
        assert "broken failed at step 412" not in other
        assert "broken" in other

    def test_a_running_run_shows_its_loss_and_what_is_left(self, client_of, viewer, make_run):
        run = make_run("steady", state="running", step=1180, started=timezone.now())
        steps = array("q", range(1, 1181))
        loss = Points(steps, array("d", [4 - step / 1000 for step in steps]), array("d", steps))
        speed = Points(array("q", [1180]), array("d", [18.0]), array("d", [1.0]))
        with transaction.atomic():
            append_points(run, {"train/loss": loss, "system/seconds_per_step": speed}, source=1)
        page = client_of(viewer).get("/p/law/").content.decode()
        assert "<b>1,180 of 1,600</b>2 h 06 min left" in page
        assert ">2.820</td>" in page
        path = re.search(r'class="ln-s" d="(M[^"]+)"', page)[1]
        places = [tuple(map(float, pair.split())) for pair in re.split("[ML]", path) if pair]
        assert (places[0][1], places[-1][1]) == (3.0, 25.0)
        assert all(0 <= x <= 112 for x, _ in places)

    def test_an_old_failure_waits_no_longer(self, client_of, researcher, make_run):
        make_run("broken", state="failed", ended=timezone.now() - timedelta(days=15), owner=researcher)
        assert "broken failed" not in client_of(researcher).get("/p/law/").content.decode()

    def test_a_queue_without_a_worker_is_told(self, client_of, researcher, make_run):
        run = make_run("patient", owner=researcher)
        run.attempts.create(number=1, directory="x")
        page = client_of(researcher).get("/p/law/").content.decode()
        assert "Queued runs do not start" in page
        assert "No worker has ever been started" in page


@pytest.fixture
def make_run(project):
    from chanote.recipes.models import Recipe, Revision

    recipe = Recipe.objects.create(project=project, slug="first", title="First")
    revision = Revision.objects.create(recipe=recipe, number=1, yaml="", resolved={}, sha256="0" * 64)

    def make(name: str, **fields: object) -> Run:
        number = Run.objects.count() + 1
        return Run.objects.create(
            project=project, revision=revision, number=number, name=name, snapshot={}, total_steps=1600, **fields
        )

    return make


class TestPolicy:
    @pytest.mark.parametrize("address", ["/login/", "/", "/p/law/", "/p/law/audit/", "/profile/", "/nowhere/"])
    def test_nothing_is_written_inline(self, client_of, viewer, address):
        client = Client() if address == "/login/" else client_of(viewer)
        answer = client.get(address)
        page = answer.content.decode()
        assert "script-src 'self'" in answer["Content-Security-Policy"]
        assert "unsafe" not in answer["Content-Security-Policy"]
        assert not re.search(r"<script(?![^>]* src=)", page)
        assert not re.search(r"<style|\sstyle=|\son\w+=", page)
        assert "//" not in re.sub(r"http://www\.w3\.org/\S+", "", " ".join(re.findall(r'(?:src|href)="([^"]*)"', page)))

    def test_htmx_evaluates_nothing(self, client_of, viewer):
        page = client_of(viewer).get("/").content.decode()
        assert '"allowEval":false' in page
        assert '"includeIndicatorStyles":false' in page
        assert '"selfRequestsOnly":true' in page

    @pytest.mark.parametrize(("cookie", "attribute"), [("dark", 'data-theme="dark"'), ("light", 'data-theme="light"')])
    def test_the_server_draws_the_chosen_theme(self, client, cookie, attribute):
        client.cookies["theme"] = cookie
        assert f'<html lang="en" {attribute}>' in client.get("/login/").content.decode()

    def test_a_forged_theme_is_not_echoed(self, client):
        client.cookies["theme"] = '"><b>'
        assert '<html lang="en">' in client.get("/login/").content.decode()


class TestFailures:
    def test_a_missing_page_says_so_calmly(self, client_of, viewer):
        answer = client_of(viewer).get("/nowhere/")
        assert answer.status_code == 404
        assert "There is nothing here that you can see" in answer.content.decode()

    def test_a_failure_is_told_without_the_database(self, settings, django_assert_num_queries):
        settings.ROOT_URLCONF = __name__
        client = Client(raise_request_exception=False)
        with django_assert_num_queries(0):
            answer = client.get("/fails/")
        assert answer.status_code == 500
        page = answer.content.decode()
        assert "The page could not be made" in page
        assert re.search(r"the number <code>[0-9a-f]{8}</code>", page)

    def test_a_stale_form_is_told(self, viewer):
        client = Client(enforce_csrf_checks=True)
        answer = client.post("/login/", {"username": "viewer", "password": "x"})
        assert answer.status_code == 403
        assert "The form is out of date" in answer.content.decode()

    def test_a_damaged_request_is_told(self, settings):
        settings.ROOT_URLCONF = __name__
        answer = Client().get("/damaged/")
        assert answer.status_code == 400
        assert "The request was not understood" in answer.content.decode()


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def beats():
        for number in range(3):
            yield f"id: {number}\ndata: beat\n\n"
            await asyncio.sleep(0)

    return StreamingHttpResponse(beats(), content_type="text/event-stream")


def fail(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("on purpose")


def damage(request: HttpRequest) -> HttpResponse:
    from django.core.exceptions import SuspiciousOperation

    raise SuspiciousOperation("on purpose")


urlpatterns = [*urlpatterns, path("stream/", stream), path("fails/", fail), path("damaged/", damage)]
assert handler500


@pytest.mark.django_db(transaction=True)
async def test_streams_of_async_views_pass_through_every_middleware(settings, viewer):
    settings.ROOT_URLCONF = __name__
    client = AsyncClient()
    await client.aforce_login(viewer, backend="django.contrib.auth.backends.ModelBackend")
    answer = await client.get("/stream/")
    assert answer.is_async
    parts = [part async for part in answer.streaming_content]
    assert parts == [f"id: {number}\ndata: beat\n\n".encode() for number in range(3)]


def test_every_middleware_works_in_async_mode_without_a_thread():
    from django.conf import settings
    from django.utils.module_loading import import_string

    assert [name for name in settings.MIDDLEWARE if not getattr(import_string(name), "async_capable", False)] == []


@pytest.mark.django_db(transaction=True)
async def test_pages_work_in_async_mode(viewer):
    client = AsyncClient()
    await client.aforce_login(viewer, backend="django.contrib.auth.backends.ModelBackend")
    answer = await client.get("/p/law/members/")
    assert answer.status_code == 200
    assert "Law assistant" in answer.content.decode()


@pytest.mark.filterwarnings("error")
async def test_static_files_are_served_in_async_mode():
    answer = await AsyncClient().get("/static/tokens.css")
    assert answer.status_code == 200
    assert answer["Content-Type"] == 'text/css; charset="utf-8"'
    assert b"--paper" in answer.content
    part = await AsyncClient().get("/static/tokens.css", headers={"Range": "bytes=0-9"})
    assert (part.status_code, len(part.content)) == (206, 10)
    assert (await AsyncClient().get("/static/nothing.css")).status_code == 404


class TestTags:
    def test_a_state_has_icon_and_word(self):
        drawn = draw("{% status 'failed' %}")
        assert "#i-failed" in drawn
        assert "Failed</span>" in drawn
        assert 'class="status is-running is-box"' in draw("{% status 'running' box=True %}")
        assert "Ready" in draw("{% status 'ok' word='Ready' %}")

    def test_an_unknown_state_is_still_a_word_and_escaped(self):
        assert "&lt;b&gt;" in draw("{% status state %}", state="<b>")

    @pytest.mark.parametrize(
        ("seconds", "words"),
        [(0, "0 s"), (59, "59 s"), (60, "1 min"), (125, "2 min 05 s"), (660, "11 min"), (7560, "2 h 06 min")],
    )
    def test_spans_have_two_units(self, seconds, words):
        assert span(seconds) == words

    def test_long_spans_are_in_days(self):
        assert span(3 * 86400 + 2 * 3600) == "3 d 2 h"

    def test_times_are_relative_with_the_moment_on_hover(self):
        moment = timezone.now() - timedelta(minutes=38, seconds=1)
        assert f'datetime="{moment.isoformat(timespec="seconds")}"' in ago(moment)
        assert ">38 min ago<" in ago(moment)
        assert ">in 38 min<" in ago(timezone.now() + timedelta(minutes=38, seconds=1))
        assert ">26 h ago<" in ago(timezone.now() - timedelta(hours=26, minutes=9))
        assert ">3 d ago<" in ago(timezone.now() - timedelta(days=3, hours=9))
        assert ago(None) == ""

    def test_old_times_are_dates(self):
        assert re.search(r">\d+ \w{3} \d{4}<", ago(timezone.now() - timedelta(days=40)))

    @pytest.mark.parametrize(
        ("value", "words"),
        [(1180, "1,180"), (-5, "\N{MINUS SIGN}5"), (0, "0"), (None, ""), (1234567.5, "1,234,567.5")],
    )
    def test_thousands(self, value, words):
        assert thousands(value) == words

    @pytest.mark.parametrize(
        ("size", "words"),
        [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (12_345, "12.3 kB"),
            (999_600, "1.00 MB"),
            (8_000_000_000, "8.00 GB"),
            (None, ""),
        ],
    )
    def test_bytes(self, size, words):
        assert spell_bytes(size) == words

    def test_a_seal_has_one_tick_per_bit_long_for_one(self):
        ticks = re.findall(r"M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)", draw_ticks(0x80000001))
        assert len(ticks) == 32
        assert ticks[0] == ("32.0", "9.5", "32.0", "2.5")
        assert ticks[8] == ("54.5", "32.0", "57.0", "32.0")
        assert ticks[31] == ("27.6", "9.9", "26.2", "3.1")

    def test_a_seal_names_its_hash_and_its_absence_is_dashed(self):
        assert 'aria-label="Seal of b74e19d2"' in seal("b74e19d2" + "0" * 56)
        assert "stroke-dasharray" in seal(None)


def test_the_project_is_put_on_the_request(viewer, project):
    request = RequestFactory().get("/")
    request.user, request.session = viewer, {}
    assert get_project(request, "law") == project
    assert request.project == project
    assert request.session == {"last_project": "law"}


class TestAuditPage:
    @pytest.fixture
    def log(self, project, viewer, researcher):
        from chanote.audit.services import record

        record("run.launched", project, actor=researcher, project=project, seed=7)
        record("run.stopped", project, actor=viewer, project=project)
        record("run.failed", None, project=project)

    def verbs(self, client, query=""):
        page = client.get(f"/p/law/audit/{query}").content.decode()
        return re.findall(r"<td data-l=\"Act\"><code>([\w.]+)</code>", page)

    def test_newest_first_and_filters_in_the_address(self, client_of, viewer, log):
        client = client_of(viewer)
        assert self.verbs(client) == ["run.failed", "run.stopped", "run.launched"]
        assert self.verbs(client, "?who=researcher") == ["run.launched"]
        assert self.verbs(client, "?who=system") == ["run.failed"]
        assert self.verbs(client, "?verb=run.stopped") == ["run.stopped"]
        assert self.verbs(client, "?object=assist") == ["run.stopped", "run.launched"]
        assert self.verbs(client, "?object=nothing") == []
        assert "No event fits these filters" in client.get("/p/law/audit/?object=nothing").content.decode()

    def test_pages_keep_the_filters(self, client_of, viewer, project):
        from chanote.accounts.models import User
        from chanote.audit.services import record

        somebody = User.objects.create(username="a&b")
        for _ in range(60):
            record("run.launched", project, actor=somebody, project=project)
        page = client_of(viewer).get("/p/law/audit/?who=a%26b").content.decode()
        assert "Page 1 of 2" in page
        assert 'href="?who=a%26b&amp;page=2"' in page

    def test_csv_has_every_event_and_runs_nothing(self, client_of, viewer, project, log):
        from chanote.audit.models import AuditEvent

        AuditEvent.objects.create(project=project, verb="dataset.imported", object_name="=HYPERLINK(1)")
        lines = client_of(viewer).get("/p/law/audit/log.csv").getvalue().decode().splitlines()
        assert len(lines) == 5
        assert ",'=HYPERLINK(1)," in lines[1]


class TestAdmin:
    def test_strangers_and_members_learn_nothing(self, client, client_of, viewer):
        assert client.get("/admin/")["Location"].startswith("/admin/login/")
        assert client.get("/admin/login/?next=/admin/")["Location"] == "/login/?next=/admin/"
        assert client_of(viewer).get("/admin/", follow=True).status_code == 404

    @pytest.fixture
    def staff(self, viewer):
        from django.contrib.auth.models import Permission

        viewer.is_staff = True
        viewer.save()
        viewer.user_permissions.set(Permission.objects.all())
        return viewer

    def test_staff_sees_the_own_projects_only(self, client_of, staff):
        from chanote.audit.services import record

        tax = Project.objects.create(slug="tax", name="Tax desk")
        record("project.created", tax, project=tax)
        client = client_of(staff)
        for address in ("accounts/project", "accounts/membership", "audit/auditevent", "accounts/user"):
            page = client.get(f"/admin/{address}/").content.decode()
            assert "Tax desk" not in page, address
        assert "Law assistant" in client.get("/admin/accounts/project/").content.decode()
        assert client.get(f"/admin/accounts/project/{tax.pk}/change/").status_code == 302

    def test_every_table_of_a_project_is_registered_with_the_filter(self):
        """A filter or a choice over related rows would name what its reader may not know of."""
        others = [
            model.__name__
            for model, registered in admin.site._registry.items()
            if isinstance(model._default_manager.get_queryset(), VisibleQuerySet)
            and not isinstance(registered, VisibleAdmin)
        ]
        assert others == []

    def test_staff_cannot_raise_itself(self, client_of, staff):
        client = client_of(staff)
        client.post(
            f"/admin/accounts/user/{staff.pk}/change/",
            {"username": "viewer", "is_superuser": "on", "is_staff": "on", "is_active": "on"},
        )
        staff.refresh_from_db()
        assert not staff.is_superuser

    def test_the_own_password_is_changed_on_the_platforms_form(self, client_of, staff):
        assert client_of(staff).get("/admin/password_change/")["Location"] == "/password/"

    def test_the_audit_log_is_only_read(self, client_of, staff, project):
        from chanote.audit.services import record

        event = record("run.launched", project, project=project)
        client = client_of(staff)
        assert client.get("/admin/audit/auditevent/add/").status_code == 403
        assert client.post(f"/admin/audit/auditevent/{event.pk}/delete/", {"post": "yes"}).status_code == 403
        assert client.post(f"/admin/audit/auditevent/{event.pk}/change/", {"verb": "x"}).status_code == 403

    def test_a_role_changed_there_is_in_the_audit_log(self, client_of, staff, project, researcher):
        from chanote.audit.models import AuditEvent

        membership = Membership.objects.get(user=researcher)
        client_of(staff).post(f"/admin/accounts/membership/{membership.pk}/change/", {"role": "curator"})
        assert AuditEvent.objects.get(verb="member.changed").detail == {"role": "curator", "before": "researcher"}

    def test_a_password_set_there_must_be_changed_by_its_owner(self, client_of, staff, researcher):
        form = {"password1": "kite lamp river nine", "password2": "kite lamp river nine", "usable_password": "true"}
        client_of(staff).post(f"/admin/accounts/user/{researcher.pk}/password/", form)
        researcher.refresh_from_db()
        assert researcher.check_password("kite lamp river nine")
        assert researcher.must_change_password
