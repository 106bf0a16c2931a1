"""What is known about a dataset version beside its rows: checks, reviews, exceptions, and who did what to it.

Apps that keep such knowledge have tables that point at versions. Each is written out as it stands, so that an app that
is added later is in the packages without a word here.
"""

import json
from collections.abc import Iterator
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Field, Model

from chanote.accounts.models import User
from chanote.audit.exporting import write_jsonl
from chanote.audit.models import AuditEvent
from chanote.datasets.models import DatasetVersion

APPS = ("checks", "curation", "rights")
LEFT_OUT = {"rights.sourcespan", "rights.withdrawnrow"}
"""Spans are in `sources.json`; which rows others withdrew is nobody's business outside."""
MOST = 100_000
"""Rows of one table."""


def gather_evidence(version: DatasetVersion) -> dict[str, bytes]:
    """File name → JSON lines; a table without a word on this version gives no file."""
    found = {}
    for relation in version._meta.related_objects:
        model = relation.related_model
        label = model._meta.label_lower
        if model._meta.app_label in APPS and label not in LEFT_OUT and not relation.many_to_many:
            rows = model._default_manager.filter(**{relation.field.name: version}).order_by("pk")[:MOST]
            if content := b"".join(_write_rows(rows)):
                found[f"evidence/{label}.jsonl"] = content
    events = AuditEvent.objects.filter(object_kind="datasetversion", object_id=str(version.pk)).order_by("pk")
    if content := "".join(write_jsonl(events.select_related("link", "project"))).encode():
        found["evidence/audit.jsonl"] = content
    return found


def _write_rows(rows: Any) -> Iterator[bytes]:
    for row in rows:
        told = {field.name: _tell(row, field) for field in row._meta.concrete_fields if not field.primary_key}
        yield json.dumps(told, ensure_ascii=False, sort_keys=True, cls=DjangoJSONEncoder).encode() + b"\n"


def _tell(row: Model, field: "Field[Any, Any]") -> Any:
    """People by their names: numbers of rows mean nothing elsewhere."""
    if field.is_relation:
        related = getattr(row, field.name)
        return related.username if isinstance(related, User) else str(related) if related is not None else None
    return field.value_from_object(row)
