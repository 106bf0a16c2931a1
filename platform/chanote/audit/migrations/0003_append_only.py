"""The database itself refuses to change, delete or empty the audit log; see `audit/triggers.py`.

A later migration of these two tables calls `remove` first and `install` last.
"""

from django.db import migrations

from chanote.audit import triggers


def install(apps, schema_editor):
    triggers.install(schema_editor.connection)


def remove(apps, schema_editor):
    triggers.remove(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_chain")]
    operations = [migrations.RunPython(install, remove)]
