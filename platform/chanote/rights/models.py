"""Sources of data with what their owners allow, which rows of a dataset version come from which source, requests for
exception from what is not allowed, and rows that were withdrawn."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone

from chanote.accounts.models import Project, slug_validator
from chanote.accounts.visibility import VisibleQuerySet
from chanote.datasets.models import DatasetVersion, Use
from chanote.models.models import Model


class Source(models.Model):
    """A body of data under one licence, one legal basis and one consent."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="sources")
    slug = models.CharField(max_length=80, validators=[slug_validator])
    title = models.CharField(max_length=160)
    licence = models.CharField(max_length=80, blank=True)
    """SPDX expression, or LicenseRef-… where none fits."""
    legal_basis = models.CharField(max_length=200, blank=True)
    """Why it may be held at all, such as an act and its section, or a contract."""
    uses = models.JSONField(default=list)
    """Values of `Use` that the owner consented to."""
    non_commercial = models.BooleanField(default=False)
    jurisdiction = models.CharField(max_length=80, blank=True)
    owner = models.CharField(max_length=200, blank=True)
    contact = models.CharField(max_length=200, blank=True)
    collected = models.DateField(null=True, blank=True)
    expires = models.DateField(null=True, blank=True)
    """Last day on which the consent holds."""
    languages = models.JSONField(default=list, blank=True)
    """BCP 47 tags."""
    origin = models.TextField(blank=True)
    """Address and commit, or how it came into the house."""
    withdrawn = models.DateTimeField(null=True, blank=True)
    withdrawn_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    withdrawal_reason = models.TextField(blank=True)
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["slug"]
        constraints = [models.UniqueConstraint(fields=["project", "slug"], name="source_slug_unique_in_project")]

    def __str__(self) -> str:
        return self.slug

    def get_absolute_url(self) -> str:
        return reverse("source", args=[self.project.slug, self.slug])

    @property
    def is_withdrawn(self) -> bool:
        return self.withdrawn is not None

    @property
    def has_expired(self) -> bool:
        return self.expires is not None and self.expires < timezone.localdate()


class SpanQuerySet(VisibleQuerySet):
    project_path = "version__dataset__project"


class SourceSpan(models.Model):
    """Rows of a version, `start` to `stop` (from 0, `stop` not included), that come from one source."""

    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="spans")
    source = models.ForeignKey(Source, on_delete=models.PROTECT, related_name="spans")
    start = models.PositiveBigIntegerField()
    stop = models.PositiveBigIntegerField()

    objects = SpanQuerySet.as_manager()

    class Meta:
        ordering = ["version", "start"]
        constraints = [
            models.UniqueConstraint(fields=["version", "start"], name="one_source_per_row"),
            models.CheckConstraint(condition=Q(stop__gt=F("start")), name="span_holds_rows"),
        ]

    def __str__(self) -> str:
        return f"rows {self.start + 1} to {self.stop} from {self.source_id}"


class State(models.TextChoices):
    """Of a request for exception. Only a request that waits can be decided, and only an approved one be revoked."""

    WAITING = "waiting", "waiting"
    APPROVED = "approved", "approved"
    REFUSED = "refused", "refused"
    REVOKED = "revoked", "revoked"
    TAKEN_BACK = "taken_back", "taken back"


class ExceptionRequest(models.Model):
    """Somebody asks to use one version or one model in one way that its rights do not allow, until a day.

    Nobody approves a request of their own: neither the service nor the database lets it happen.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="exceptions")
    version = models.ForeignKey(
        DatasetVersion, null=True, blank=True, on_delete=models.CASCADE, related_name="exceptions"
    )
    model = models.ForeignKey(Model, null=True, blank=True, on_delete=models.CASCADE, related_name="exceptions")
    use = models.CharField(max_length=10, choices=Use.choices)
    reason = models.TextField()
    until = models.DateField()
    """Last day on which it lets the use pass."""
    state = models.CharField(max_length=12, choices=State.choices, default=State.WAITING, db_index=True)
    created = models.DateTimeField(auto_now_add=True)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    """Accounts that asked or decided stay, closed if need be: otherwise nobody could tell who was who."""
    decided = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    decision_note = models.TextField(blank=True)
    ended = models.DateTimeField(null=True, blank=True)
    """When it was revoked or taken back."""
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    ended_reason = models.TextField(blank=True)

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["version", "use", "state"]), models.Index(fields=["model", "use", "state"])]
        constraints = [
            models.CheckConstraint(
                condition=Q(version__isnull=True, model__isnull=False) | Q(version__isnull=False, model__isnull=True),
                name="exception_for_a_version_or_a_model",
            ),
            models.CheckConstraint(condition=Q(state__in=State.values), name="exception_state_known"),
            models.CheckConstraint(condition=Q(use__in=Use.values), name="exception_use_known"),
            models.CheckConstraint(
                condition=Q(state__in=[State.WAITING, State.TAKEN_BACK], decided_by__isnull=True)
                | (
                    Q(state__in=[State.APPROVED, State.REFUSED, State.REVOKED], decided_by__isnull=False)
                    & ~Q(decided_by=F("requested_by"))
                ),
                name="exception_decided_by_somebody_else",
            ),
        ]

    def __str__(self) -> str:
        return f"exception {self.pk}: {self.use} {self.subject}"

    def get_absolute_url(self) -> str:
        return reverse("exception", args=[self.project.slug, self.pk])

    @property
    def subject(self) -> DatasetVersion | Model:
        return self.version or self.model  # type: ignore[return-value]

    @property
    def is_live(self) -> bool:
        """Whether it lets the use pass today."""
        return self.state == State.APPROVED and self.until >= timezone.localdate()

    @property
    def has_run_out(self) -> bool:
        return self.state == State.APPROVED and self.until < timezone.localdate()


class WithdrawnRow(models.Model):
    """A row that must not be used any more, wherever it stands. Its text is not kept here, only what finds it."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="withdrawn_rows")
    sha256 = models.CharField(max_length=64)
    """Of the row's canonical JSON without the line feed."""
    length = models.PositiveIntegerField()
    """Of the same in bytes: only lines of this length need to be hashed."""
    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="+")
    """Where somebody picked it."""
    number = models.PositiveBigIntegerField()
    """Its number there, from 1."""
    reason = models.TextField()
    withdrawn = models.DateTimeField(auto_now_add=True)
    withdrawn_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["project", "sha256"], name="row_withdrawn_once_in_project")]

    def __str__(self) -> str:
        return f"row {self.number:,} of {self.version}"


class Purpose(models.Model):
    """What a project's models are for, as far as rights ask it."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="purpose")
    commercial = models.BooleanField(default=False)
    """The project serves commerce, so that nothing non-commercial may be used in it."""

    objects = VisibleQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.project}: {'commercial' if self.commercial else 'not commercial'}"
