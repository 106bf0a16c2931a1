"""The audit log for other programs: CSV for people with spreadsheets, JSON lines with all that the chain is over."""

import csv
import json
from collections.abc import Iterable, Iterator
from datetime import UTC

from django.db.models import QuerySet

from chanote.audit.chain import FIELDS
from chanote.audit.models import AuditEvent, AuditLink

FORMATS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson; charset=utf-8"}
"""Format → media type."""
COLUMNS = ("at", "who", "verb", "kind", "id", "name", "detail", "project", "position", "sha256")
TOGETHER = 2000
"""Events that are in memory at a time."""


def export_events(events: QuerySet[AuditEvent], format: str) -> Iterator[str]:
    """Lines of a file, read as they are asked for, in the order of the query."""
    rows = events.select_related("link", "project").iterator(chunk_size=TOGETHER)
    return write_csv(rows) if format == "csv" else write_jsonl(rows)


class Line:
    """A file that hands each line on instead of keeping it."""

    def write(self, text: str) -> str:
        return text


def write_csv(events: Iterable[AuditEvent]) -> Iterator[str]:
    writer = csv.writer(Line())
    yield writer.writerow(COLUMNS)
    for event in events:
        detail = json.dumps(event.detail, ensure_ascii=False, sort_keys=True)
        link = find_link(event)
        about = [event.object_kind, event.object_id, event.object_name]
        who, where = event.actor_name or "system", event.project.slug if event.project else ""
        yield writer.writerow(
            [
                event.at.isoformat(), defuse(who), event.verb, *map(defuse, about), defuse(detail), where,
                link.position if link else "", link.sha256 if link else "",
            ]
        )  # fmt: skip


def write_jsonl(events: Iterable[AuditEvent]) -> Iterator[str]:
    """One object in a line: the fields that `chain.digest_event` reads, the digest and the link of the chain."""
    for event in events:
        link = find_link(event)
        told = {
            "id": event.pk,
            "at": event.at.astimezone(UTC).isoformat(timespec="microseconds"),
            **{name: getattr(event, f"{name}_id" if name in ("actor", "project") else name) for name in FIELDS},
            "detail": event.detail,
            "project_slug": event.project.slug if event.project else None,
            "digest": event.digest,
            "link": {"position": link.position, "sha256": link.sha256} if link else None,
        }
        yield json.dumps(told, ensure_ascii=False) + "\n"


def find_link(event: AuditEvent) -> AuditLink | None:
    return getattr(event, "link", None)


def defuse(text: str) -> str:
    """A cell that begins like a formula is kept from running as one in a spreadsheet."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
