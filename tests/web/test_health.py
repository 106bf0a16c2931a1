"""What monitors ask: alive, ready, figures."""

from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from chanote.runs.models import Worker
from chanote.web import health

pytestmark = pytest.mark.django_db


def test_livez_asks_nothing_of_the_database(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        answer = client.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"ok": True})


def test_readyz_has_one_line_per_check(client):
    answer = client.get("/readyz")
    checks = answer.json()["checks"]
    assert answer.status_code == 200
    assert list(checks) == ["database", "migrations", "disk", "broker", "worker"]
    assert all(check["says"].endswith(".") for check in checks.values())
    assert "no-store" in answer["Cache-Control"]


def test_a_missing_worker_is_told_but_pages_do_without(client):
    answer = client.get("/readyz").json()
    assert answer["ok"] is True
    assert answer["checks"]["worker"] == {
        "ok": False,
        "says": "No worker was ever heard of; runs wait in the queue until one starts.",
    }


def test_the_last_sign_of_a_worker_is_told(client):
    Worker.objects.create(name="w", host="h", pid=1, heartbeat=timezone.now() - timedelta(seconds=4))
    check = client.get("/readyz").json()["checks"]["worker"]
    assert check["ok"] is True
    assert check["says"] in {"A worker was last heard of 4 s ago.", "A worker was last heard of 5 s ago."}


def test_too_little_disk_is_not_ready(client, settings):
    settings.MINIMUM_FREE_BYTES = 10**18
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["disk"]["says"].endswith("make room.")


def test_a_silent_database_is_not_ready_and_gives_no_names_away(client, monkeypatch):
    def refuse(*_):
        raise OperationalError('connection to server at "db.internal", user "chanote" failed')

    monkeypatch.setattr(connection, "cursor", refuse)
    check = health.check_database()
    assert check.ok is False
    assert "db.internal" not in check.says


def test_a_waiting_migration_is_not_ready(client, monkeypatch):
    monkeypatch.setattr(health.MigrationExecutor, "migration_plan", lambda *_: [("0002", False)])
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "run `python manage.py migrate`" in answer.json()["checks"]["migrations"]["says"]


def test_a_broker_folder_that_cannot_be_written_is_not_ready(client, settings, tmp_path, monkeypatch):
    settings.CELERY_BROKER_TRANSPORT_OPTIONS = {"data_folder_in": str(tmp_path / "messages")}
    assert client.get("/readyz").json()["checks"]["broker"]["ok"] is True
    monkeypatch.setattr(health.os, "access", lambda *_: False)
    assert client.get("/readyz").status_code == 503


def test_a_silent_redis_is_not_ready(settings):
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"
    check = health.check_broker()
    assert check.ok is False
    assert "Redis does not answer" in check.says


class TestFigures:
    def test_strangers_do_not_learn_of_them(self, client, client_of, viewer):
        assert client.get("/metrics").status_code == 404
        assert client_of(viewer).get("/metrics").status_code == 404

    def test_staff_reads_them(self, client_of, viewer, project):
        viewer.is_staff = True
        viewer.save()
        Worker.objects.create(name="w", host="h", pid=1, heartbeat=timezone.now())
        text = client_of(viewer).get("/metrics").content.decode()
        assert 'chanote_runs{state="queued"} 0.0' in text
        assert "chanote_workers 1.0" in text
        assert "chanote_users 1.0" in text

    @pytest.mark.parametrize(("allowed", "status"), [(["10.1.0.0/16"], 200), (["10.2.0.0/16"], 404), ([], 404)])
    def test_listed_networks_read_them_without_an_account(self, settings, allowed, status):
        settings.METRICS_ALLOW = allowed
        assert Client(REMOTE_ADDR="10.1.2.3").get("/metrics").status_code == status
