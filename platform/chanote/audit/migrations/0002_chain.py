"""The hash chain over the audit log, also over the events that are there already, in the order of their numbers."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

from chanote.audit.chain import FIELDS, START, digest_event, link_event


def link_events(apps, schema_editor):
    AuditEvent, AuditLink = apps.get_model("audit", "AuditEvent"), apps.get_model("audit", "AuditLink")
    previous, links = START, []
    columns = [f"{name}_id" if name in ("actor", "project") else name for name in FIELDS]
    for position, event in enumerate(AuditEvent.objects.order_by("pk").iterator(chunk_size=2000), start=1):
        values = {name: getattr(event, column) for name, column in zip(FIELDS, columns)}
        event.digest = digest_event(at=event.at, fields=values, detail=event.detail)
        event.save(update_fields=["digest"])
        previous = link_event(previous, event.pk, event.digest)
        links.append(AuditLink(position=position, event_id=event.pk, sha256=previous))
        if len(links) == 2000:
            AuditLink.objects.bulk_create(links)
            links = []
    AuditLink.objects.bulk_create(links)


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]

    operations = [
        migrations.AlterField(
            model_name="auditevent",
            name="at",
            field=models.DateTimeField(db_index=True, default=django.utils.timezone.now, editable=False),
        ),
        migrations.AddField(
            model_name="auditevent",
            name="digest",
            field=models.CharField(default="", editable=False, max_length=64),
            preserve_default=False,
        ),
        migrations.CreateModel(
            name="AuditLink",
            fields=[
                ("position", models.BigIntegerField(primary_key=True, serialize=False)),
                ("sha256", models.CharField(max_length=64)),
                (
                    "event",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="link",
                        to="audit.auditevent",
                    ),
                ),
            ],
            options={"ordering": ["position"]},
        ),
        migrations.RunPython(link_events, migrations.RunPython.noop),
    ]
