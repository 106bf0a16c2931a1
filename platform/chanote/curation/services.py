"""Every write about where a version stands. HTML, REST, the command line and the admin all come through here."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from chanote.accounts.models import Project
from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.curation.models import LONGEST_NOTE, Comment, Signature, Standing, State, Verdict
from chanote.curation.rules import CHECKLIST, explain_no_signature
from chanote.curation.selectors import find_restricted_kin
from chanote.datasets.models import Dataset, DatasetVersion
from chanote.rights.withdrawal import cancel_waiting, find_waiting_runs
from chanote.web.problems import Problem

REVIEW = "datasets.review"
CHANGE = "datasets.change"


class CurationRefused(ValueError):
    """Nothing was changed; `problems` says why, by field."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = list(problems)
        super().__init__(" ".join(problem.message for problem in problems))


def refuse(field: str, message: str) -> CurationRefused:
    return CurationRefused(Problem(field, message))


@transaction.atomic
def ask_for_review(version: DatasetVersion, *, restricted: bool = False, note: str = "", actor: Any) -> Standing:
    """Put a draft before the reviewers. What was called restricted once, or comes of restricted data, is restricted,
    whatever is asked."""
    require(actor, CHANGE, version.project)
    note = read_text("note", note)
    standing = _lock(version)
    if standing.state != State.DRAFT:
        raise refuse("", f"{version.reference} is {standing.get_state_display()}: only a draft is put up for review.")
    standing.restricted = standing.restricted or restricted or find_restricted_kin(version) is not None
    standing.asked_by, standing.asked_at, standing.reason = actor, timezone.now(), note
    standing.submit()
    _keep(standing, "dataset.review_asked", actor, note, restricted=standing.restricted)
    return standing


@transaction.atomic
def sign_version(version: DatasetVersion, *, checklist: Sequence[str], note: str = "", actor: Any) -> Standing:
    """The actor's signature under a version in review; the last one that is needed approves it."""
    require(actor, REVIEW, version.project)
    note = read_text("note", note)
    standing = _lock(version)
    if standing.state != State.IN_REVIEW:
        raise refuse("", f"{version.reference} is {standing.get_state_display()}, not in review: nothing is to sign.")
    _check_signer(standing, actor)
    if missing := [words for key, words in CHECKLIST.items() if key not in checklist]:
        raise refuse("checklist", f"Confirm each point before you sign; open: {'; '.join(missing)}.")
    # What it comes of may have been restricted since the review was asked for.
    standing.restricted = standing.restricted or find_restricted_kin(version) is not None
    _sign(standing, actor, Verdict.SIGNED, note, [key for key in CHECKLIST if key in checklist])
    if standing.first_by_id is None:
        standing.first_by = actor
    else:
        standing.second_by = actor
    if standing.is_signed:
        standing.restrict() if standing.restricted else standing.approve()
    verb = "dataset.signed" if standing.state == State.IN_REVIEW else f"dataset.{standing.state}"
    _keep(standing, verb, actor, note, signers=[one.username for one in standing.signers])
    return standing


@transaction.atomic
def return_version(version: DatasetVersion, *, reason: str, actor: Any) -> Standing:
    """Send a version in review back to its makers; signatures of this round are void."""
    require(actor, REVIEW, version.project)
    reason = read_text("reason", reason, needed=True)
    standing = _lock(version)
    if standing.state != State.IN_REVIEW:
        raise refuse("", f"{version.reference} is {standing.get_state_display()}, not in review: nothing to return.")
    standing.signatures.filter(round=standing.round, person=actor).delete()
    _sign(standing, actor, Verdict.RETURNED, reason, [])
    standing.reason = reason
    standing.send_back()
    _keep(standing, "dataset.returned", actor, reason)
    return standing


@transaction.atomic
def restrict_version(version: DatasetVersion, *, reason: str, actor: Any) -> Standing:
    """Restrict data: a draft or a version in review needs two signatures from now on; an approved one takes the
    actor's as its second."""
    require(actor, REVIEW, version.project)
    reason = read_text("reason", reason, needed=True)
    standing = _lock(version)
    if standing.restricted or standing.state == State.WITHDRAWN:
        raise refuse("", f"{version.reference} is {'restricted' if standing.restricted else 'withdrawn'} already.")
    standing.restricted, standing.reason = True, reason
    if standing.state == State.APPROVED:
        _check_signer(standing, actor)
        _sign(standing, actor, Verdict.SIGNED, reason, [])
        standing.second_by = actor
        standing.restrict()
    _keep(standing, "dataset.restricted", actor, reason)
    return standing


def withdraw_version(version: DatasetVersion, *, reason: str, actor: Any) -> Standing:
    """Take a version out of use for good. Runs that wait in the queue for it are cancelled; those at work go on."""
    require(actor, REVIEW, version.project)
    reason = read_text("reason", reason, needed=True)
    with transaction.atomic():
        # Launches take the same lock, so that none that asked before can write its run after.
        Project.objects.select_for_update().get(pk=version.dataset.project_id)
        standing = _lock(version)
        if standing.state == State.WITHDRAWN:
            raise refuse("", f"{version.reference} is withdrawn already.")
        standing.reason = reason
        standing.withdraw()
        _keep(standing, "dataset.withdrawn", actor, reason)
    cancel_waiting(find_waiting_runs(version), f"{version.reference} was withdrawn.", actor)
    return standing


@transaction.atomic
def add_comment(version: DatasetVersion, *, text: str, row: int | None = None, actor: Any) -> Comment:
    require(actor, CHANGE, version.project)
    text = read_text("text", text, needed=True)
    if row is not None and not 1 <= row <= version.rows:
        raise refuse("row", f"{version.reference} has rows 1 to {version.rows:,}; there is no row {row:,}.")
    comment = Comment.objects.create(version=version, row=row, text=text, author=actor, author_name=actor.username)
    record("dataset.commented", version, actor=actor, row=row, text=text)
    return comment


def read_text(field: str, text: str, *, needed: bool = False) -> str:
    text = text.strip().replace("\r\n", "\n")
    if needed and not text:
        raise refuse(field, f"Give a {field}: others will want to know it.")
    if len(text) > LONGEST_NOTE:
        raise refuse(field, f"The {field} has {len(text):,} characters; {LONGEST_NOTE:,} fit. Shorten it.")
    if "\0" in text:
        raise refuse(field, f"The {field} holds a NUL character, which is no text; remove it.")
    return text


def _lock(version: DatasetVersion) -> Standing:
    """The standing, which nobody else changes until this transaction ends."""
    # Two first words about one version wait for each other here, so that one row is made.
    Dataset.objects.select_for_update().get(pk=version.dataset_id)
    standing = Standing.objects.select_for_update().filter(version=version).first()
    if standing is None:
        standing = Standing(version=version, made_by=version.created_by)
        standing.skip_history_when_saving = True
        standing.save()
        del standing.skip_history_when_saving
    standing.version = version
    return standing


def _check_signer(standing: Standing, actor: Any) -> None:
    if why := explain_no_signature(standing, actor):
        raise refuse("", why)


def _sign(standing: Standing, actor: Any, verdict: str, note: str, checklist: list[str]) -> None:
    Signature.objects.create(
        standing=standing,
        round=standing.round,
        person=actor,
        person_name=actor.username,
        verdict=verdict,
        note=note,
        checklist=checklist,
    )


def _keep(standing: Standing, verb: str, actor: Any, reason: str, **detail: Any) -> None:
    # What django-simple-history reads when the row is saved.
    vars(standing).update(_history_user=actor, _change_reason=reason[:100] or None)
    standing.save()
    detail = {key: value for key, value in detail.items() if value is not None}
    record(verb, standing.version, actor=actor, state=standing.state, reason=reason, **detail)
