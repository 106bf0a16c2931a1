"""Reads of the audit log."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.http import QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from chanote.accounts.models import Project
from chanote.audit.models import AuditEvent
from chanote.web.problems import Problem


@dataclass(frozen=True)
class AuditWish:
    """Filters that the address asks for."""

    who: str = ""
    verb: str = ""
    object: str = ""
    since: str = ""
    """A day or a moment, as ISO 8601 writes them; the day or moment itself is within."""
    until: str = ""

    @property
    def is_filtered(self) -> bool:
        return any(vars(self).values())

    @property
    def problems(self) -> list[Problem]:
        """Of bounds that are no moments; `find_events` leaves them aside."""
        return [
            Problem(name, f"{getattr(self, name)} is no day or moment; write 2026-11-21 or 2026-11-21T09:30Z.")
            for name in ("since", "until")
            if getattr(self, name) and read_moment(getattr(self, name)) is None
        ]


def read_audit_wish(query: QueryDict) -> AuditWish:
    return AuditWish(*(query.get(name, "").strip()[:200] for name in ("who", "verb", "object", "since", "until")))


def read_moment(text: str, *, end: bool = False) -> datetime | None:
    """The moment a text names, None for none; of a day its beginning, or with `end` the beginning of the next."""
    try:
        if day := parse_date(text):
            start = timezone.make_aware(datetime(day.year, day.month, day.day))
            return start + timedelta(days=1) if end else start
        moment = parse_datetime(text)
    except (ValueError, OverflowError):
        return None
    return timezone.make_aware(moment) if moment and timezone.is_naive(moment) else moment


def find_events(user: Any, project: Project | None, wish: AuditWish) -> QuerySet[AuditEvent]:
    """Events of a project, or with None of all that the person sees, the newest first."""
    events = AuditEvent.objects.visible_to(user)
    if project is not None:
        events = events.filter(project=project)
    if since := read_moment(wish.since):
        events = events.filter(at__gte=since)
    if until := read_moment(wish.until, end=True):
        events = events.filter(at__lt=until) if parse_date(wish.until) else events.filter(at__lte=until)
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
