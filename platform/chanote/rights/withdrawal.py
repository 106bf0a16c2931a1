"""Taking data out of use: a source as a whole, or a single row wherever it stands."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.db import transaction
from django.utils import timezone

from chanote.accounts.models import Project
from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.datasets.models import DatasetVersion
from chanote.datasets.storage import StoreError
from chanote.rights.exceptions import RightsRefused, check_text
from chanote.rights.impact import find_impact_of_row, find_impact_of_source
from chanote.rights.models import Source, WithdrawnRow
from chanote.rights.rows import mark_row
from chanote.runs.models import Run, State
from chanote.runs.services import RunRefused, cancel_run
from chanote.web.problems import Problem


def withdraw_source(source: Source, *, reason: str, actor: Any) -> Source:
    """No launch, evaluation or export uses its rows from now on; runs that wait in the queue for them are cancelled,
    those at work go on until somebody stops them. It cannot be taken back. Raises RightsRefused, PermissionDenied."""
    require(actor, "rights.withdraw", source.project)
    reason = check_text("reason", reason)
    # Before the transaction: it may take a second, and SQLite lets one transaction write at a time.
    used_by = find_impact_of_source(source).count()
    with transaction.atomic():
        # Launches take the same lock, so that none that began before can write its run after.
        Project.objects.select_for_update().get(pk=source.project_id)
        done = Source.objects.filter(pk=source.pk, withdrawn=None).update(
            withdrawn=timezone.now(), withdrawn_by=actor, withdrawal_reason=reason
        )
        source.refresh_from_db()
        if not done:
            raise RightsRefused(Problem("", f"The source {source.slug} is withdrawn already; it stays so."))
        record("source.withdrawn", source, actor=actor, reason=reason, used_by=used_by)
    cancel_waiting(
        (hit.run for hit in find_impact_of_source(source).runs), f"The source {source.slug} was withdrawn.", actor
    )
    return source


def withdraw_row(version: DatasetVersion, number: int, *, reason: str, actor: Any) -> WithdrawnRow:
    """Take a row, by its number from 1, out of use in every version in which it stands. Raises RightsRefused."""
    project = version.dataset.project
    require(actor, "rights.withdraw", project)
    reason = check_text("reason", reason)
    try:
        length, sha256 = mark_row(version, number) if 0 < number <= version.rows else (0, "")
    except StoreError as error:
        raise RightsRefused(Problem("row", str(error))) from error
    if not sha256:
        raise RightsRefused(Problem("row", f"{version.reference} has rows 1 to {version.rows:,}; {number:,} is none."))
    used_by = find_impact_of_row(project, (length, sha256)).count()
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        row, created = WithdrawnRow.objects.get_or_create(
            project=project,
            sha256=sha256,
            defaults={
                "length": length, "version": version, "number": number, "reason": reason, "withdrawn_by": actor,
            },
        )  # fmt: skip
        if not created:
            raise RightsRefused(Problem("row", f"This row was withdrawn already, as {row}."))
        record("row.withdrawn", row, actor=actor, reason=reason, used_by=used_by)
    runs = (hit.run for hit in find_impact_of_row(project, (length, sha256)).runs)
    cancel_waiting(runs, f"{str(row).capitalize()} was withdrawn.", actor)
    return row


def find_waiting_runs(version: DatasetVersion) -> Iterator[Run]:
    """Runs in the queue that froze this version by its name; others may hold the same rows by another."""
    waiting = Run.objects.filter(project=version.dataset.project, state=State.QUEUED)
    return (run for run in waiting if version.reference in run.snapshot.get("datasets", {}))


def cancel_waiting(runs: Iterable[Run], reason: str, actor: Any) -> None:
    """The platform cancels, since whoever may withdraw may not always launch."""
    for run in runs:
        if run.state == State.QUEUED:
            try:
                cancel_run(run, actor=None, reason=f"{reason} Withdrawn by {actor}.")
            except RunRefused:
                continue  # It began or ended meanwhile.
