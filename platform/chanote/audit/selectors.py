"""Reads of the audit log."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet
from django.http import QueryDict

from chanote.accounts.models import Project
from chanote.audit.models import AuditEvent


@dataclass(frozen=True)
class AuditWish:
    """Filters that the address asks for."""

    who: str = ""
    verb: str = ""
    object: str = ""

    @property
    def is_filtered(self) -> bool:
        return bool(self.who or self.verb or self.object)


def read_audit_wish(query: QueryDict) -> AuditWish:
    return AuditWish(*(query.get(name, "").strip()[:200] for name in ("who", "verb", "object")))


def find_events(user: Any, project: Project, wish: AuditWish) -> QuerySet[AuditEvent]:
    events = AuditEvent.objects.visible_to(user).filter(project=project)
    if wish.who == "system":
        events = events.filter(actor_name="")
    elif wish.who:
        events = events.filter(actor_name=wish.who)
    if wish.verb:
        events = events.filter(verb=wish.verb)
    if wish.object:
        events = events.filter(Q(object_name__icontains=wish.object) | Q(object_id=wish.object))
    return events


def list_choices(project: Project) -> dict[str, list[str]]:
    """Names and verbs that occur in the project's log."""
    events = AuditEvent.objects.filter(project=project).order_by()
    names = events.values_list("actor_name", flat=True).distinct()
    return {
        "people": sorted(name or "system" for name in names),
        "verbs": sorted(events.values_list("verb", flat=True).distinct()),
    }
