"""Requests for exception: asked by one person, decided by another, used by nobody else's use.

Who asked cannot decide, whatever their role: the service refuses, the update that decides carries the condition, and
the table has a check constraint, so that neither a race nor another door gets past it.
"""

from datetime import date, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone

from chanote.accounts.models import Project, User
from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.datasets.models import DatasetVersion, Use
from chanote.models.models import Model
from chanote.rights.models import ExceptionRequest, State
from chanote.rights.rules import judge_model, judge_version
from chanote.web.problems import Problem

LONGEST_DAYS = 366
"""An exception is no licence: after a year somebody looks again."""
LONGEST_TEXT = 2000


class RightsRefused(ValueError):
    """What was asked cannot be done; `problems` says why, by field."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = list(problems)
        super().__init__(" ".join(problem.message for problem in problems))


def request_exception(
    *, project: Project, subject: DatasetVersion | Model, use: str, reason: str, until: date, actor: Any
) -> ExceptionRequest:
    """Ask that a version or a model may be used in one way until a day. Raises RightsRefused, PermissionDenied."""
    person = _name_person(actor)
    require(person, "rights.request", project)
    reason = check_text("reason", reason)
    today = timezone.localdate()
    problems = []
    if use not in Use.values:
        problems.append(Problem("use", f"The use {use[:40]!r} is not known; use {', '.join(Use.values)}."))
    if until < today:
        problems.append(Problem("until", f"{until} is past; choose a day from {today} on."))
    elif until > today + timedelta(days=LONGEST_DAYS):
        problems.append(
            Problem("until", f"An exception lasts {LONGEST_DAYS} days at most; choose a day before {until} and renew.")
        )
    if problems:
        raise RightsRefused(*problems)
    if subject.project != project:
        raise RightsRefused(Problem("subject", f"{subject} belongs to another project; ask there."))
    judgement = judge_version(subject, use) if isinstance(subject, DatasetVersion) else judge_model(subject, use)
    if judgement.exceptions:
        raise RightsRefused(Problem("subject", f"An exception lets this pass already: {judgement.exceptions[0]}."))
    if not judgement.refusals:
        raise RightsRefused(Problem("use", f"The rights of {subject} allow {use} without an exception."))
    if not any(refusal.ask for refusal in judgement.refusals):
        raise RightsRefused(Problem("subject", f"No exception can be had: {judgement.refusals[0].message}"))
    kind = "version" if isinstance(subject, DatasetVersion) else "model"
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        waiting = ExceptionRequest.objects.filter(
            **{kind: subject}, use=use, state=State.WAITING, requested_by=person
        ).first()
        if waiting is not None:
            raise RightsRefused(Problem("subject", f"You have asked for this already; {waiting} waits for a decision."))
        asked = ExceptionRequest.objects.create(
            project=project, **{kind: subject}, use=use, reason=reason, until=until, requested_by=person
        )
        record("exception.requested", asked, actor=person, reason=reason, use=use, until=str(until))
    return asked


def approve_exception(asked: ExceptionRequest, *, note: str = "", actor: Any) -> ExceptionRequest:
    """Let the use pass until the day asked for. Raises RightsRefused when it was decided meanwhile, has run out, or
    the actor asked for it; PermissionDenied for who may not decide."""
    return _decide(asked, State.APPROVED, note, actor)


def refuse_exception(asked: ExceptionRequest, *, note: str, actor: Any) -> ExceptionRequest:
    """Say no, with the reason."""
    return _decide(asked, State.REFUSED, check_text("note", note), actor)


@transaction.atomic
def _decide(asked: ExceptionRequest, state: State, note: str, actor: Any) -> ExceptionRequest:
    person = _name_person(actor)
    require(person, "rights.decide", asked.project)
    if len(note) > LONGEST_TEXT:
        raise RightsRefused(Problem("note", f"The note has {len(note):,} characters; {LONGEST_TEXT:,} fit."))
    if asked.requested_by_id == person.pk:
        raise RightsRefused(
            Problem("", "You asked for this exception, so somebody else must decide on it; take it back if you no "
                    "longer need it.")
        )  # fmt: skip
    fitting = ExceptionRequest.objects.filter(pk=asked.pk, state=State.WAITING).exclude(requested_by=person)
    if state == State.APPROVED:
        fitting = fitting.filter(until__gte=timezone.localdate())
    done = fitting.update(state=state, decided=timezone.now(), decided_by=person, decision_note=note)
    asked.refresh_from_db()
    if not done:
        raise RightsRefused(Problem("", _tell_state(asked)))
    record(f"exception.{state}", asked, actor=person, note=note, use=asked.use, until=str(asked.until))
    return asked


@transaction.atomic
def revoke_exception(asked: ExceptionRequest, *, reason: str, actor: Any) -> ExceptionRequest:
    """End an approved exception at once. Runs that go on are not stopped; none starts by it any more."""
    person = _name_person(actor)
    require(person, "rights.decide", asked.project)
    return _end(asked, State.APPROVED, State.REVOKED, check_text("reason", reason), person)


@transaction.atomic
def take_back_exception(asked: ExceptionRequest, *, actor: Any) -> ExceptionRequest:
    """Take back one's own request before it is decided."""
    person = _name_person(actor)
    require(person, "rights.request", asked.project)
    if asked.requested_by_id != person.pk:
        raise PermissionDenied(f"{asked.requested_by} asked for this exception; only they can take it back.")
    return _end(asked, State.WAITING, State.TAKEN_BACK, "", person)


def _end(asked: ExceptionRequest, before: State, after: State, reason: str, person: User) -> ExceptionRequest:
    done = ExceptionRequest.objects.filter(pk=asked.pk, state=before).update(
        state=after, ended=timezone.now(), ended_by=person, ended_reason=reason
    )
    asked.refresh_from_db()
    if not done:
        raise RightsRefused(Problem("", _tell_state(asked)))
    record(f"exception.{after}", asked, actor=person, reason=reason, use=asked.use)
    return asked


def _tell_state(asked: ExceptionRequest) -> str:
    if asked.state == State.WAITING:
        return f"This request was for the time until {asked.until}, which is past; ask anew."
    by = f" by {asked.decided_by}" if asked.decided_by else ""
    return f"This request is {asked.get_state_display()}{by} and is not decided again; ask anew if need be."


def check_text(field: str, text: str) -> str:
    """A reason that somebody must give. Raises RightsRefused."""
    text = text.replace("\r\n", "\n").strip()
    if not text or "\0" in text:
        raise RightsRefused(Problem(field, "Say why, in a sentence that others understand later."))
    if len(text) > LONGEST_TEXT:
        raise RightsRefused(Problem(field, f"The text has {len(text):,} characters; {LONGEST_TEXT:,} fit. Shorten it."))
    return text


def _name_person(actor: Any) -> User:
    """Requests and decisions are a person's, never the platform's own."""
    if not isinstance(actor, User):
        raise PermissionDenied("Only a person can ask for an exception or decide on one.")
    return actor
