"""Whether the audit log is what was written: every event as its digest says, every link as the chain wants it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db import connection

from chanote.audit import triggers
from chanote.audit.chain import START, link_event
from chanote.audit.models import AuditEvent, AuditLink

SHOWN = 100
"""Faults that are told one by one; the rest is counted."""
HEAD = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})\Z")


@dataclass
class LogCheck:
    events: int = 0
    position: int = 0
    """Of the last link."""
    sha256: str = START
    """Of the last link."""
    faults: list[str] = field(default_factory=list)
    fault_total: int = 0

    @property
    def head(self) -> str:
        """What to keep elsewhere: with it also events that were cut off at the end are missed later."""
        return f"{self.position}:{self.sha256}"

    def tell(self, fault: str) -> None:
        self.fault_total += 1
        if len(self.faults) < SHOWN:
            self.faults.append(fault)


def read_head() -> str:
    """`POSITION:HASH` of the newest link."""
    last = AuditLink.objects.order_by("-position").first()
    return f"{last.position}:{last.sha256}" if last else f"0:{START}"


def check_log(*, expect: str = "") -> LogCheck:
    """Follow the chain from its start. `expect` is a head, `POSITION:HASH`, that was kept from an earlier check.

    Raises ValueError where `expect` is no head.
    """
    wanted = HEAD.match(expect)
    if expect and wanted is None:
        raise ValueError(f"{expect} is no head of the log; write POSITION:HASH as an earlier check told it.")
    check = LogCheck()
    for name in triggers.missing(connection):
        check.tell(f"The trigger {name} is missing, so the database would let the log be changed.")
    previous = START
    for links in _read_links():
        found = AuditEvent.objects.in_bulk([link.event_id for link in links])
        for link in links:
            if link.position != check.position + 1:
                check.tell(f"Links {check.position + 1:,} to {link.position - 1:,} are missing.")
            event = found.get(link.event_id)
            if event is None:
                check.tell(f"Event {link.event_id:,} of link {link.position:,} is missing.")
            else:
                check.events += 1
                if event.compute_digest() != event.digest:
                    check.tell(f"Event {event.pk:,} ({event.verb}, {event.at:%Y-%m-%d %H:%M}) was changed.")
                if link_event(previous, event.pk, event.digest) != link.sha256:
                    check.tell(f"Link {link.position:,} does not follow from the one before and event {event.pk:,}.")
            if wanted and int(wanted[1]) == link.position and wanted[2] != link.sha256:
                check.tell(f"Link {link.position:,} is not the one that was expected; the log was written anew.")
            check.position, check.sha256, previous = link.position, link.sha256, link.sha256
    if wanted and check.position < int(wanted[1]):
        check.tell(f"The log ends at link {check.position:,}; it went on to {int(wanted[1]):,} once.")
    for number in AuditEvent.objects.filter(link__isnull=True).order_by("pk").values_list("pk", flat=True):
        check.tell(f"Event {number:,} stands outside the chain: it was not written by the platform.")
    return check


def _read_links(size: int = 500) -> Iterator[list[AuditLink]]:
    """Links in lists, by position and not by an open cursor: a long check holds nothing."""
    after = -(2**63)
    while part := list(AuditLink.objects.filter(position__gt=after).order_by("position")[:size]):
        yield part
        after = part[-1].position
