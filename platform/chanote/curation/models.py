"""Where a dataset version stands, who said so, and what people are about to change in its rows.

A version itself never changes: its standing lies in a table beside it. No row there means: draft.
"""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django_fsm import ConcurrentTransitionMixin, FSMField, transition
from simple_history.models import HistoricalRecords

from chanote.accounts.models import Project
from chanote.accounts.visibility import VisibleQuerySet
from chanote.datasets.models import DatasetVersion

LONGEST_NOTE = 2_000


class State(models.TextChoices):
    DRAFT = "draft", "draft"
    IN_REVIEW = "in_review", "in review"
    APPROVED = "approved", "approved"
    RESTRICTED = "restricted", "restricted"
    WITHDRAWN = "withdrawn", "withdrawn"


USABLE = (State.APPROVED, State.RESTRICTED)


class BypassError(Exception):
    """Something tried to change a standing past its transitions."""


class OfVersion(VisibleQuerySet):
    project_path = "version__dataset__project"


class OfStanding(VisibleQuerySet):
    project_path = "standing__version__dataset__project"


class OfChangeSet(VisibleQuerySet):
    project_path = "change_set__version__dataset__project"


class StandingQuerySet(OfVersion):
    """Changed one by one through the services: each change has its person, its reason and its audit event."""

    def update(self, **values: object) -> int:
        raise BypassError("standings change through chanote.curation.services")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise BypassError("a standing is not forgotten; withdraw the version")

    def bulk_create(self, *args: Any, **kwargs: Any) -> Any:
        raise BypassError("standings begin one by one, as drafts")

    def bulk_update(self, *args: Any, **kwargs: Any) -> Any:
        raise BypassError("standings change through chanote.curation.services")


def _person(**options: Any) -> Any:
    return models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", **options
    )


class Standing(ConcurrentTransitionMixin, models.Model):
    """The state of one version. The database itself refuses a standing that nobody else has signed."""

    version = models.OneToOneField(DatasetVersion, on_delete=models.CASCADE, related_name="standing")
    state = FSMField(default=State.DRAFT, choices=State.choices, protected=True, max_length=12)
    restricted = models.BooleanField(default=False)
    """Restricted data: two people sign, and the rows never leave the house."""
    made_by = _person()
    """Who imported or made the version: may not sign it."""
    asked_by = _person()
    """Who asked for the review: may not sign it."""
    asked_at = models.DateTimeField(null=True, blank=True)
    first_by = _person()
    second_by = _person()
    round = models.PositiveIntegerField(default=0)
    """How often a review was asked for."""
    reason = models.CharField(max_length=LONGEST_NOTE, blank=True)
    """Why it was returned, restricted or withdrawn last."""
    changed = models.DateTimeField(auto_now=True)
    history = HistoricalRecords()

    objects = StandingQuerySet.as_manager()

    class Meta:
        ordering = ["-changed"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=State.values), name="standing_state_known"),
            models.CheckConstraint(
                condition=~Q(state__in=USABLE) | Q(asked_by__isnull=False, first_by__isnull=False),
                name="standing_usable_is_signed",
            ),
            models.CheckConstraint(
                condition=~Q(state=State.RESTRICTED) | Q(second_by__isnull=False, restricted=True),
                name="standing_restricted_is_signed_twice",
            ),
            models.CheckConstraint(
                condition=~Q(state=State.APPROVED) | Q(restricted=False), name="standing_restricted_is_not_open"
            ),
            models.CheckConstraint(
                condition=~Q(state=State.DRAFT) | Q(first_by__isnull=True, second_by__isnull=True),
                name="standing_draft_is_unsigned",
            ),
            *(
                models.CheckConstraint(
                    condition=Q(**{f"{signer}__isnull": True})
                    | Q(**{f"{other}__isnull": True})
                    | ~Q(**{signer: F(other)}),
                    name=f"standing_{signer}_is_not_{other}",
                )
                for signer, other in (
                    ("first_by", "made_by"), ("first_by", "asked_by"), ("second_by", "made_by"),
                    ("second_by", "asked_by"), ("second_by", "first_by"),
                )
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.version}: {self.get_state_display()}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self._state.adding and self.state != State.DRAFT:
            raise BypassError("a standing begins as a draft")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise BypassError("a standing is not forgotten; withdraw the version")

    @property
    def project(self) -> Project:
        return self.version.project

    @property
    def signers_needed(self) -> int:
        return 2 if self.restricted else 1

    @property
    def signers(self) -> list[Any]:
        return [one for one in (self.first_by, self.second_by) if one is not None]

    @property
    def is_signed(self) -> bool:
        """Whether enough people have signed, none of whom made the version or asked for its review."""
        ids = [one for one in (self.first_by_id, self.second_by_id) if one is not None]
        own = {self.made_by_id, self.asked_by_id}
        return len(set(ids)) >= self.signers_needed and not own & set(ids) and self.asked_by_id is not None

    @transition(field=state, source=State.DRAFT, target=State.IN_REVIEW)
    def submit(self) -> None:
        self.round += 1

    @transition(field=state, source=State.IN_REVIEW, target=State.DRAFT)
    def send_back(self) -> None:
        self.first_by = self.second_by = None

    @transition(
        field=state,
        source=State.IN_REVIEW,
        target=State.APPROVED,
        conditions=[lambda standing: _may_open(standing)],
    )
    def approve(self) -> None:
        """Signed by somebody else."""

    @transition(
        field=state,
        source=[State.IN_REVIEW, State.APPROVED],
        target=State.RESTRICTED,
        conditions=[lambda standing: _may_restrict(standing)],
    )
    def restrict(self) -> None:
        """Signed by two others."""

    @transition(
        field=state,
        source=[State.DRAFT, State.IN_REVIEW, State.APPROVED, State.RESTRICTED],
        target=State.WITHDRAWN,
    )
    def withdraw(self) -> None:
        if self.asked_by_id is None:
            self.first_by = self.second_by = None


def _may_open(standing: Any) -> bool:
    return standing.is_signed and not standing.restricted


def _may_restrict(standing: Any) -> bool:
    return standing.is_signed and standing.restricted


class Verdict(models.TextChoices):
    SIGNED = "signed", "signed"
    RETURNED = "returned", "returned"


class Signature(models.Model):
    """One person's word on a version in one round of its review, with the checklist as they ticked it."""

    standing = models.ForeignKey(Standing, on_delete=models.CASCADE, related_name="signatures")
    round = models.PositiveIntegerField()
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    person_name = models.CharField(max_length=150)
    verdict = models.CharField(max_length=10, choices=Verdict.choices)
    checklist = models.JSONField(default=list)
    """Keys of `rules.CHECKLIST` that were ticked."""
    note = models.TextField(blank=True)
    created = models.DateTimeField(auto_now_add=True)

    objects = OfStanding.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["standing", "round", "person"], name="one_word_of_a_person_in_a_round"),
            models.CheckConstraint(condition=Q(verdict__in=Verdict.values), name="signature_verdict_known"),
        ]

    def __str__(self) -> str:
        return f"{self.person_name} {self.verdict} {self.standing}"


class Comment(models.Model):
    """What somebody said about a version, or about one of its rows."""

    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="comments")
    row = models.PositiveBigIntegerField(null=True, blank=True)
    """Counted from 1; empty for the whole version."""
    text = models.TextField()
    author = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    author_name = models.CharField(max_length=150)
    created = models.DateTimeField(auto_now_add=True)

    objects = OfVersion.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["version", "row"], name="comment_by_row")]

    def __str__(self) -> str:
        return f"{self.author_name} on {self.version}"

    @property
    def project(self) -> Project:
        return self.version.project


class ChangeSet(models.Model):
    """What one person is about to change in the rows of one version. Each change is kept as soon as it is made."""

    class Status(models.TextChoices):
        OPEN = "open", "open"
        APPLIED = "applied", "applied"
        DROPPED = "dropped", "dropped"

    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="change_sets")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    author_name = models.CharField(max_length=150)
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.OPEN)
    result = models.ForeignKey(
        DatasetVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="made_of_changes"
    )
    """The version that was made of it."""
    created = models.DateTimeField(auto_now_add=True)
    closed = models.DateTimeField(null=True, blank=True)

    objects = OfVersion.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["version", "author"], condition=Q(status="open"), name="one_open_change_set_of_a_person"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["open", "applied", "dropped"]), name="change_set_status_known"
            ),
        ]

    def __str__(self) -> str:
        return f"changes of {self.author_name} to {self.version}"

    @property
    def project(self) -> Project:
        return self.version.project


class Change(models.Model):
    """One operation on rows, in the form that is replayed (`chanote.curation.operations`)."""

    change_set = models.ForeignKey(ChangeSet, on_delete=models.CASCADE, related_name="changes")
    number = models.PositiveIntegerField()
    operation = models.JSONField()
    touched = models.PositiveBigIntegerField()
    """Rows that it is about."""
    created = models.DateTimeField(auto_now_add=True)

    objects = OfChangeSet.as_manager()

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["change_set", "number"], name="change_number_unique_in_set")]

    def __str__(self) -> str:
        return f"{self.operation.get('op', '?')} in {self.change_set_id}"


class Glance(models.Model):
    """That a person has looked at a row in the queue and found it good. No part of any version."""

    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="glances")
    row = models.PositiveBigIntegerField()
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created = models.DateTimeField(auto_now_add=True)

    objects = OfVersion.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["version", "row", "person"], name="one_glance_at_a_row")]

    def __str__(self) -> str:
        return f"row {self.row} of {self.version_id}"
