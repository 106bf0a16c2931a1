"""The audit log on PostgreSQL: the server itself refuses to change it, and links every commit to the one before."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, transaction

from chanote.accounts.models import Project, User
from chanote.audit import triggers
from chanote.audit.models import AuditEvent, AuditLink
from chanote.audit.services import record
from chanote.audit.verifying import check_log, read_head

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(180)]

ATTACKS = [
    "UPDATE audit_auditevent SET verb = 'nothing.happened'",
    "DELETE FROM audit_auditevent",
    "TRUNCATE audit_auditevent",
    "TRUNCATE audit_auditevent, audit_auditlink CASCADE",
    "INSERT INTO audit_auditevent SELECT * FROM audit_auditevent "
    "ON CONFLICT (id) DO UPDATE SET verb = 'nothing.happened'",
    "SET LOCAL session_replication_role = replica; DELETE FROM audit_auditevent",
    "UPDATE audit_auditlink SET sha256 = ''",
    "DELETE FROM audit_auditlink",
    "TRUNCATE audit_auditlink",
    "WITH gone AS (DELETE FROM audit_auditlink RETURNING *) SELECT * FROM gone",
]
WRITE = (
    "import django; django.setup()\n"
    "import sys\n"
    "from django.db import transaction\n"
    "from chanote.audit.services import record\n"
    "for number in range(25):\n"
    "    with transaction.atomic():\n"
    "        record('run.moved', None, number=number, writer=sys.argv[1])\n"
    "        record('run.parked', None, number=number, writer=sys.argv[1])\n"
)


def execute(statement: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_the_server_refuses_to_change_the_log(on_postgres):
    record("run.launched", None, rate=1e22, words="ภาษาไทย")
    record("run.stopped", None)
    assert triggers.missing(connection) == []
    before = list(AuditEvent.objects.values_list()), list(AuditLink.objects.values_list())
    for statement in ATTACKS:
        with pytest.raises(DatabaseError, match="append-only"):
            execute(statement)
    assert (list(AuditEvent.objects.values_list()), list(AuditLink.objects.values_list())) == before
    assert check_log(expect=read_head()).fault_total == 0


def test_writers_at_the_same_time_make_one_chain(on_postgres):
    before = check_log()
    writers = [subprocess.Popen([sys.executable, "-c", WRITE, str(number)], env={**os.environ}) for number in range(3)]
    assert [writer.wait(timeout=120) for writer in writers] == [0] * 3
    after = check_log(expect=before.head)
    assert (after.fault_total, after.events - before.events, after.position - before.position) == (0, 150, 150)


def test_an_open_transaction_keeps_nobody_from_writing(on_postgres):
    """The lock is taken at the commit, not with the event."""
    with transaction.atomic():
        record("run.launched", None)
        program = WRITE.replace("range(25)", "range(1)")
        subprocess.run([sys.executable, "-c", program, "other"], env={**os.environ}, check=True, timeout=60)
    assert check_log().fault_total == 0
    assert AuditEvent.objects.latest("link__position").verb == "run.launched"


def test_a_project_goes_and_its_log_stays(on_postgres):
    project = Project.objects.create(slug="gone", name="Gone")
    user = User.objects.create(username="gone")
    event = record("project.created", project, actor=user, project=project)
    project.delete()
    user.delete()
    assert AuditEvent.objects.filter(pk=event.pk).exists()
    assert check_log().fault_total == 0


def test_what_was_changed_around_the_triggers_is_found(on_postgres):
    event = record("run.launched", None, seed=7)
    with transaction.atomic():
        triggers.remove(connection)
        execute("UPDATE audit_auditevent SET detail = '{}' WHERE verb = 'run.launched'")
        triggers.install(connection)
        assert any(f"Event {event.pk:,} (run.launched" in fault for fault in check_log().faults)
        transaction.set_rollback(True)
    assert check_log().fault_total == 0
    assert triggers.missing(connection) == []


def test_a_dump_restores_with_its_triggers_and_its_chain(on_postgres, postgres_url, tmp_path):
    record("run.launched", None)
    head = read_head()
    server = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_dump"))
    pg_dump = str(server[-1]) if server else shutil.which("pg_dump")
    psql = str(Path(pg_dump).with_name("psql"))
    dump = tmp_path / "dump.sql"
    subprocess.run([pg_dump, postgres_url, "-f", dump], check=True, timeout=60)
    quiet = {"check": True, "timeout": 60, "stdout": subprocess.DEVNULL}
    subprocess.run([psql, "-q", postgres_url, "-c", "CREATE DATABASE restored"], **quiet)
    restored = f"{postgres_url.rpartition('/')[0]}/restored"
    subprocess.run([psql, "-q", "-v", "ON_ERROR_STOP=1", restored, "-f", dump], **quiet)
    program = (
        "import django; django.setup()\n"
        "import sys\n"
        "from chanote.audit.verifying import check_log\n"
        "sys.exit(check_log(expect=sys.argv[1]).fault_total)\n"
    )
    environment = {**os.environ, "CHANOTE_DATABASE_URL": restored}
    subprocess.run([sys.executable, "-c", program, head], env=environment, check=True, timeout=60)


def test_migrations_go_back_and_forth(on_postgres):
    manage = [sys.executable, str(Path(__file__).resolve().parents[2] / "manage.py"), "migrate", "-v0", "--skip-checks"]
    record("run.launched", None)
    head = read_head()
    subprocess.run([*manage, "audit", "0002"], check=True, timeout=60)
    assert len(triggers.missing(connection)) == 5
    subprocess.run(manage, check=True, timeout=60)
    assert check_log(expect=head).fault_total == 0
