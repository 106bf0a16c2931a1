"""Removes containers that nobody holds: by their labels, so that it works after any death of the service."""

import time

from toolsandbox.code.engine import Engine
from toolsandbox.code.hardening import EXPIRY_LABEL, LABEL, OWNER_LABEL

TICKET_LABEL = "chanote.sandbox.ticket"
"""Of a container that is being made: its service notes it before the engine knows of it."""


async def reap(engine: Engine, *, owner: str, held: set[str], at_start: bool = False) -> int:
    """Remove this owner's containers that expired, and at start all of them: none can be ours yet. Answers how many.

    Containers that this process holds, by identity or by ticket, are spared whatever their label says: a clock that
    jumped must not end them. Give the living set: it is looked at after the engine was asked.
    """
    removed = 0
    for listed in await engine.list_labelled(f"{OWNER_LABEL}={owner}"):
        labels = listed.get("Labels") or {}
        if labels.get(LABEL) != "1" or {listed["Id"], labels.get(TICKET_LABEL)} & held:
            continue
        try:
            expired = float(labels.get(EXPIRY_LABEL, "0")) <= time.time()
        except ValueError:
            expired = True
        if at_start or expired or listed.get("State") in ("exited", "dead"):
            await engine.remove(listed["Id"])
            removed += 1
    return removed
