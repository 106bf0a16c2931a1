"""The audit log: nobody changes it, its chain finds what was changed all the same, and it can be taken out."""

import csv
import hashlib
import io
import json
import shutil
import sqlite3

import pytest
from django.db import DatabaseError, connection, transaction
from django.urls import reverse

from chanote.audit import triggers
from chanote.audit.chain import START, digest_event
from chanote.audit.models import AppendOnlyError, AuditEvent, AuditLink
from chanote.audit.services import record
from chanote.audit.verifying import check_log, read_head
from chanote.cli import main
from tests.prepared_home import DATABASE

pytestmark = pytest.mark.django_db

ATTACKS = [
    "UPDATE audit_auditevent SET verb = 'nothing.happened'",
    "UPDATE audit_auditevent SET id = id + 100",
    "DELETE FROM audit_auditevent",
    "DELETE FROM audit_auditevent WHERE verb = 'run.launched'",
    "REPLACE INTO audit_auditevent SELECT * FROM audit_auditevent",
    "INSERT INTO audit_auditevent SELECT * FROM audit_auditevent WHERE true "
    "ON CONFLICT DO UPDATE SET verb = 'nothing.happened'",
    "UPDATE OR REPLACE audit_auditevent SET id = 1",
    "DELETE FROM audit_auditlink",
    "UPDATE audit_auditlink SET sha256 = ''",
    "REPLACE INTO audit_auditlink SELECT * FROM audit_auditlink",
    "REPLACE INTO audit_auditlink SELECT 99, sha256, event_id FROM audit_auditlink LIMIT 1",
]


@pytest.fixture
def events(project, researcher):
    return [
        record("run.launched", researcher, actor=researcher, project=project, seed=7, rate=1e22, share=1.0),
        record("run.stopped", researcher, project=project, words="ภาษาไทย '=1+1'"),
        record("user.created", researcher),
    ]


@pytest.mark.parametrize("statement", ATTACKS)
def test_raw_sql_cannot_change_the_log(events, statement):
    before = list(AuditEvent.objects.values_list()), list(AuditLink.objects.values_list())
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert (list(AuditEvent.objects.values_list()), list(AuditLink.objects.values_list())) == before


def test_the_orm_cannot_either(events):
    event = AuditEvent.objects.first()
    for act in (
        event.save,
        event.delete,
        AuditEvent.objects.all().delete,
        lambda: AuditEvent.objects.update(verb="x"),
        lambda: AuditEvent.objects.bulk_create([AuditEvent(verb="x")]),
        AuditLink.objects.all().delete,
        AuditLink.objects.first().save,
        AuditLink.objects.first().delete,
    ):
        with pytest.raises(AppendOnlyError):
            act()


def test_every_trigger_is_there_after_the_last_migration(db):
    """A migration that makes a table of the log anew must put its triggers back."""
    assert triggers.missing(connection) == []


def test_a_project_and_a_person_may_go_and_what_they_did_stays(events, project, researcher):
    researcher.delete()
    project.delete()
    assert [event.verb for event in AuditEvent.objects.order_by("pk")] == [
        "run.launched",
        "run.stopped",
        "user.created",
    ]
    assert check_log().fault_total == 0


def test_the_chain_is_what_its_description_says(events):
    previous = START
    for event, link in zip(events, AuditLink.objects.order_by("position"), strict=True):
        previous = hashlib.sha256(f"{previous} {event.pk} {event.digest}".encode()).hexdigest()
        assert link.sha256 == previous
    assert read_head() == f"3:{previous}"


def test_numbers_that_a_database_spells_otherwise_make_no_difference():
    fields = dict.fromkeys(("actor", "actor_name", "project", "verb", "object_kind", "object_id", "object_name"), "")
    at = AuditEvent().at
    as_written, as_returned = {"rate": 1e22, "share": [1.0]}, {"rate": 10**22, "share": [1]}
    assert digest_event(at=at, fields=fields, detail=as_written) == digest_event(
        at=at, fields=fields, detail=as_returned
    )


def tamper(statement: str) -> None:
    triggers.remove(connection)
    with connection.cursor() as cursor:
        cursor.execute(statement)
    triggers.install(connection)


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE audit_auditevent SET detail = '{}' WHERE verb = 'run.launched'", "was changed"),
        ("UPDATE audit_auditevent SET actor_name = 'somebody' WHERE verb = 'run.stopped'", "was changed"),
        ("UPDATE audit_auditevent SET digest = 'ab' WHERE verb = 'run.stopped'", "was changed"),
        ("DELETE FROM audit_auditevent WHERE verb = 'run.stopped'", "is missing"),
        ("DELETE FROM audit_auditlink WHERE position = 2", "Links 2 to 2 are missing"),
        ("DELETE FROM audit_auditlink WHERE position = 3", "stands outside the chain"),
    ],
)
def test_what_was_changed_around_the_triggers_is_found(events, statement, fault):
    tamper(statement)
    check = check_log()
    assert any(fault in one for one in check.faults), check.faults


def test_an_end_that_was_cut_off_is_found_by_a_head_kept_elsewhere(events):
    head = read_head()
    assert check_log(expect=head).fault_total == 0
    tamper("DELETE FROM audit_auditevent WHERE verb = 'user.created'")
    tamper("DELETE FROM audit_auditlink WHERE position = 3")
    assert check_log().fault_total == 0
    assert check_log(expect=head).faults == ["The log ends at link 2; it went on to 3 once."]
    record("user.created", None)
    assert any("written anew" in fault for fault in check_log(expect=head).faults)


def test_a_missing_trigger_fails_the_check(events):
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER audit_auditevent_not_deleted")
    assert check_log().faults == [
        "The trigger audit_auditevent_not_deleted is missing, so the database would let the log be changed."
    ]


def test_a_backup_restores_with_its_triggers_and_its_chain(prepared_home, tmp_path):
    """As `sqlite3 chanote.sqlite3 .dump` does: rows first, then triggers."""
    from django.db import connections

    source = shutil.copy(prepared_home / DATABASE, tmp_path / "first.sqlite3")

    own = connections["default"]

    def use(path):
        connections["default"] = type(own)({**own.settings_dict, "NAME": str(path)}, "default")

    try:
        use(source)
        record("run.launched", None)
        record("run.stopped", None)
        head = read_head()
        connections["default"].close()
        dump = "\n".join(
            line for line in sqlite3.connect(source).iterdump() if "_grams" not in line and "sqlite_master" not in line
        )
        restored = tmp_path / "second.sqlite3"
        into = sqlite3.connect(restored)
        into.executescript(dump)
        into.close()
        use(restored)
        assert check_log(expect=head).fault_total == 0
        with pytest.raises(DatabaseError), connections["default"].cursor() as cursor:
            cursor.execute("DELETE FROM audit_auditevent")
        connections["default"].close()
    finally:
        connections["default"] = own


def test_files_hold_what_the_filters_leave(events, project, viewer, client_of):
    client = client_of(viewer)
    read = b"".join(client.get(reverse("audit_jsonl", args=[project.slug]), {"verb": "run.stopped"})).decode()
    (line,) = map(json.loads, read.splitlines())
    assert (line["verb"], line["detail"]["words"], line["link"]["position"]) == ("run.stopped", "ภาษาไทย '=1+1'", 2)
    rows = csv.DictReader(
        io.StringIO(b"".join(client.get(reverse("audit_csv", args=[project.slug]), {"who": "researcher"})).decode())
    )
    assert [row["verb"] for row in rows] == ["run.launched"]


def test_a_line_of_the_file_is_enough_to_take_its_hash(events, project, viewer, client_of):
    from datetime import datetime

    read = b"".join(client_of(viewer).get(reverse("audit_jsonl", args=[project.slug]))).decode()
    for line in map(json.loads, read.splitlines()):
        at = datetime.fromisoformat(line["at"])
        assert digest_event(at=at, fields=line, detail=line["detail"]) == line["digest"]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({}, 2),
        ({"since": "2000-01-01"}, 2),
        ({"until": "2000-01-01"}, 0),
        ({"since": "2999-01-01T00:00:00Z"}, 0),
        ({"object": "researcher", "verb": "run.launched"}, 1),
    ],
)
def test_the_api_filters_alike(events, project, viewer, client_of, query, count):
    client = client_of(viewer)
    assert len(client.get(reverse("api:audit", args=[project.slug]), query).json()["results"]) == count
    lines = b"".join(client.get(reverse("api:audit_file", args=[project.slug]), query))
    assert len(lines.splitlines()) == count
    table = b"".join(client.get(reverse("api:audit_file", args=[project.slug]), {**query, "form": "csv"}))
    assert len(table.splitlines()) == count + 1


def test_a_bound_that_is_no_day_is_named(events, project, viewer, client_of):
    client = client_of(viewer)
    answer = client.get(reverse("api:audit", args=[project.slug]), {"since": "tomorrow"})
    assert answer.status_code == 400
    assert answer.json()["problems"][0]["field"] == "since"
    page = client.get(reverse("audit", args=[project.slug]), {"since": "2026-99-99"}).content.decode()
    assert "2026-99-99 is no day or moment" in page


def test_a_stranger_reads_no_log(events, project, stranger, client_of):
    client = client_of(stranger)
    for name in ("audit_csv", "audit_jsonl", "api:audit", "api:audit_file"):
        assert client.get(reverse(name, args=[project.slug])).status_code == 404


@pytest.fixture
def run_command(monkeypatch, capsys):
    """`chanote` in this process, on this test's database."""
    monkeypatch.setattr("chanote.cli._set_up_django", lambda **_: None)

    def run(*words: str) -> tuple[int, str]:
        code = main(list(words))
        return code, capsys.readouterr().out

    return run


def test_the_command_finds_a_change_and_says_where(events, run_command, project_admin):
    code, out = run_command("audit", "verify", "--json")
    assert (code, json.loads(out)["head"]) == (0, read_head())
    tamper("UPDATE audit_auditevent SET object_name = 'somebody else' WHERE verb = 'run.stopped'")
    code, out = run_command("audit", "verify", "--json")
    assert code == 1
    assert "(run.stopped" in json.loads(out)["problems"][0]["message"]


def test_the_command_writes_the_log(events, run_command, project, viewer, tmp_path):
    code, out = run_command("audit", "export", "--as", "viewer", "--project", project.slug, "--verb", "run.launched")
    assert (code, [json.loads(line)["verb"] for line in out.splitlines()]) == (0, ["run.launched"])
    target = str(tmp_path / "log.csv")
    assert run_command("audit", "export", "--as", "viewer", "--format", "csv", "--out", target)[0] == 0
    assert run_command("audit", "export", "--as", "viewer", "--format", "csv", "--out", target)[0] == 4
    assert run_command("audit", "export", "--as", "viewer", "--everything")[0] == 4
    assert run_command("audit", "export", "--as", "viewer", "--since", "soon")[0] == 2
