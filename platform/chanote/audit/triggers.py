"""What keeps the audit log append-only in the database itself, whoever writes: UPDATE, DELETE, TRUNCATE are refused.

A migration that makes one of the two tables anew, as Django does on SQLite for most changes of a column, drops their
triggers and must call `install` again; `missing` says so, and `chanote audit verify` fails on it.
"""

from typing import Any

TABLES = ("audit_auditevent", "audit_auditlink")
REFUSAL = "the audit log is append-only"

SQLITE = {
    # REPLACE takes the old row away without firing a trigger on DELETE.
    "{table}_not_replaced": """CREATE TRIGGER {table}_not_replaced BEFORE INSERT ON {table}
WHEN EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key})
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    "{table}_not_changed": """CREATE TRIGGER {table}_not_changed BEFORE UPDATE ON {table}
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    "{table}_not_deleted": """CREATE TRIGGER {table}_not_deleted BEFORE DELETE ON {table}
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
}
KEYS = {"audit_auditevent": "id", "audit_auditlink": "position"}
UNIQUE = """CREATE TRIGGER audit_auditlink_once BEFORE INSERT ON audit_auditlink
WHEN EXISTS (SELECT 1 FROM audit_auditlink WHERE event_id = NEW.event_id)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"""

# The number is that of the lock under which commits are linked one after the other.
POSTGRES = [
    """CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$""",
    """CREATE OR REPLACE FUNCTION audit_link() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE last record;
BEGIN
  PERFORM pg_advisory_xact_lock(418581342580);
  IF EXISTS (SELECT 1 FROM audit_auditlink WHERE event_id = NEW.id) THEN RETURN NULL; END IF;
  SELECT position, sha256 INTO last FROM audit_auditlink ORDER BY position DESC LIMIT 1;
  INSERT INTO audit_auditlink (position, event_id, sha256) VALUES (
    coalesce(last.position, 0) + 1, NEW.id,
    encode(sha256(convert_to(coalesce(last.sha256, repeat('0', 64)) || ' ' || NEW.id || ' ' || NEW.digest, 'UTF8')),
      'hex'));
  RETURN NULL;
END $$""",
    # At the commit, so that the lock is held for the commit alone.
    """CREATE CONSTRAINT TRIGGER audit_auditevent_linked AFTER INSERT ON audit_auditevent
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_link()""",
]
POSTGRES_GUARDS = {
    "{table}_not_changed": "BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW",
    "{table}_not_truncated": "BEFORE TRUNCATE ON {table} FOR EACH STATEMENT",
}


def install(connection: Any) -> None:
    """Put every trigger in place; those that are there stay."""
    lacking = missing(connection)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            for statement in POSTGRES[:2]:
                cursor.execute(statement)
            if "audit_auditevent_linked" in lacking:
                cursor.execute(POSTGRES[2])
            for table in TABLES:
                for name, when in POSTGRES_GUARDS.items():
                    if (named := name.format(table=table)) in lacking:
                        cursor.execute(
                            f"CREATE TRIGGER {named} {when.format(table=table)} EXECUTE FUNCTION audit_refuse()"
                        )
                        # Also where a session says that it replays another server's rows.
                        cursor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {named}")
            return
        for table in TABLES:
            for name, statement in SQLITE.items():
                if name.format(table=table) in lacking:
                    cursor.execute(statement.format(table=table, key=KEYS[table]))
        if "audit_auditlink_once" in lacking:
            cursor.execute(UNIQUE)


def remove(connection: Any) -> None:
    """Take the triggers away: a migration back to before them, and tests that empty their database."""
    present = set(expected(connection)) - set(missing(connection))
    with connection.cursor() as cursor:
        for name in sorted(present):
            table = next(table for table in TABLES if name.startswith(table))
            cursor.execute(f"DROP TRIGGER {name}" + (f" ON {table}" if connection.vendor == "postgresql" else ""))
        if connection.vendor == "postgresql":
            cursor.execute("DROP FUNCTION IF EXISTS audit_refuse()")
            cursor.execute("DROP FUNCTION IF EXISTS audit_link()")


def expected(connection: Any) -> list[str]:
    if connection.vendor == "postgresql":
        named = [name.format(table=table) for table in TABLES for name in POSTGRES_GUARDS]
        return [*named, "audit_auditevent_linked"]
    return [*(name.format(table=table) for table in TABLES for name in SQLITE), "audit_auditlink_once"]


def missing(connection: Any) -> list[str]:
    """Names of triggers that should guard the log and are not there, or are switched off."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D' "
                "AND tgrelid IN (SELECT oid FROM pg_class WHERE relname = ANY(%s))",
                [list(TABLES)],
            )
        else:
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        present = {row[0] for row in cursor.fetchall()}
    return [name for name in expected(connection) if name not in present]
