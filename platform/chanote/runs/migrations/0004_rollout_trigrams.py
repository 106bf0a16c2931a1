"""Trigrams of the searched texts of rollouts, kept by the database itself; see `rollout_search`.

On SQLite triggers fill them. A later migration that makes one of the two tables anew, as Django does for most changes
of a column there, drops its triggers and must make them again.
"""

import sqlite3

from django.db import migrations

TABLES = {"runs_rolloutprompt": "id", "runs_rollouttext": "rollout_id"}
"""Table with a column `body` → its key."""

SQLITE = """
CREATE VIRTUAL TABLE {table}_grams USING fts5(
  body, content='{table}', content_rowid='{key}', tokenize='trigram', detail='none', columnsize=0
);
CREATE TRIGGER {table}_gram_added AFTER INSERT ON {table} BEGIN
  INSERT INTO {table}_grams (rowid, body) VALUES (new.{key}, new.body);
END;
CREATE TRIGGER {table}_gram_removed AFTER DELETE ON {table} BEGIN
  INSERT INTO {table}_grams ({table}_grams, rowid, body) VALUES ('delete', old.{key}, old.body);
END;
"""
SQLITE_BACK = "DROP TRIGGER {table}_gram_added; DROP TRIGGER {table}_gram_removed; DROP TABLE {table}_grams;"
POSTGRES = """
ALTER TABLE {table} ADD COLUMN grams integer[];
CREATE INDEX {table}_grams ON {table} USING gin (grams);
"""
POSTGRES_BACK = "ALTER TABLE {table} DROP COLUMN grams;"


def add(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite" and sqlite3.sqlite_version_info < (3, 34):
        raise RuntimeError(
            f"SQLite 3.34 or newer is needed to search rollouts; this Python brings {sqlite3.sqlite_version}. "
            "Use a newer Python, or PostgreSQL by CHANOTE_DATABASE_URL."
        )
    run(schema_editor, SQLITE, POSTGRES)


def remove(apps, schema_editor):
    run(schema_editor, SQLITE_BACK, POSTGRES_BACK)


def run(schema_editor, sqlite, postgres):
    statements = postgres if schema_editor.connection.vendor == "postgresql" else sqlite
    for table, key in TABLES.items():
        for statement in split(statements.format(table=table, key=key)):
            schema_editor.execute(statement)


def split(statements):
    """One by one; a trigger's own semicolons are followed by no line that begins a statement."""
    found, rest = [], ""
    for part in statements.split(";"):
        rest += part + ";"
        if sqlite3.complete_statement(rest):
            found.append(rest.strip())
            rest = ""
    return found


class Migration(migrations.Migration):
    dependencies = [("runs", "0003_rollout_rows")]
    operations = [migrations.RunPython(add, remove)]
