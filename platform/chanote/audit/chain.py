"""The hash chain over the audit log: each link holds the hash of the link before and of its event.

    link(n) = SHA-256(link(n - 1) + " " + event id + " " + digest of the event)        link(0) = 64 zeros

The digest is taken over the event's own fields in one spelling that both databases give back. On SQLite, where
transactions come one by one anyway, `AuditEvent.save` writes the link. On PostgreSQL a trigger that fires at the
commit does (`triggers.py`): between an event and its commit nobody waits for anybody.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

START = "0" * 64
"""What the first link has before it."""
FIELDS = ("actor", "actor_name", "project", "verb", "object_kind", "object_id", "object_name")


def digest_event(*, at: datetime, fields: Mapping[str, Any], detail: Any) -> str:
    """SHA-256 of an event's content; `fields` holds a value for each of FIELDS, people and projects by their key."""
    content = {"at": at.astimezone(UTC).isoformat(timespec="microseconds"), "detail": _settle(detail)}
    content |= {name: fields[name] for name in FIELDS}
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def link_event(previous: str, event: int, digest: str) -> str:
    return hashlib.sha256(f"{previous} {event} {digest}".encode()).hexdigest()


def _settle(value: Any) -> Any:
    """JSON values as every database returns them: 1e22 and 1.0 may come back as whole numbers."""
    if isinstance(value, Mapping):
        return {str(key): _settle(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_settle(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        # Lazy and enumerated strings too as plain ones.
        return str(value)
    return value
