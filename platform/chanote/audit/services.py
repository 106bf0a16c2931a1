"""Writing the audit log. Call inside the transaction of the act itself, so that both exist or neither."""

from typing import Any

from django.db.models import Model

from chanote.accounts.models import Project, User
from chanote.audit.models import AuditEvent


def record(
    verb: str, subject: Model | None = None, *, actor: Any = None, project: Project | None = None, **detail: Any
) -> AuditEvent:
    """Append one event. `detail` holds JSON values only, never secrets."""
    person = actor if isinstance(actor, User) else None
    return AuditEvent.objects.create(
        actor=person,
        actor_name=person.username if person else "",
        project=project or getattr(subject, "project", None),
        verb=verb,
        object_kind=subject._meta.model_name or "" if subject else "",
        object_id=str(subject.pk) if subject else "",
        object_name=str(subject)[:200] if subject else "",
        detail=detail,
    )
